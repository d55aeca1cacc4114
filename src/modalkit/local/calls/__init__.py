"""Function calls: inputs on their way in, outputs on their way out, and what is kept of them."""
