"""What runs inside a container: engine processes, the gateway before them, custom services."""
