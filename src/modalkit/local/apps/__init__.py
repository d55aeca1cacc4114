"""Apps and their functions: declared, published, deployed and brought back, scheduled, logged."""
