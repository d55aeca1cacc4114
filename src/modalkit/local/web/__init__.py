"""HTTP and WebSockets from outside: to web functions as calls, to servers' own ports."""
