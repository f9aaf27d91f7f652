"""The commands of clients and members: their table, operands, rights and parsing. Pure."""
