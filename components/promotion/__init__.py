"""Which version people use: register, gate, promote, roll back, and a record of every decision."""
