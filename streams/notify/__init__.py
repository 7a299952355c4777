"""Notifiers: how an alert reaches people, and the engine that delivers it to each destination."""
