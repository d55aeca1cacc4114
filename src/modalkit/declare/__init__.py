"""What a service is declared with: frozen values, one noun a module; no effect, no network."""
