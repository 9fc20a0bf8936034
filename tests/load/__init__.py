"""Many DNS queries at a fixed rate, with what became of each; a C program does it, compiled when first needed."""
