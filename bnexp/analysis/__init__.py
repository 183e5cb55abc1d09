"""What figures and claims share: run selection, quantities out of tables, the paper's curves."""
