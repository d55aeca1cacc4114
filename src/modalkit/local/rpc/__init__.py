"""The served RPCs, one module per area; each class's methods name their RPC with a decorator."""
