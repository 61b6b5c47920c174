"""Who may call, with what, how often: what every request passes before it reaches a route."""
