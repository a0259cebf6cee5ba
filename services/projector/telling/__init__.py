"""What answers say of the rows that were read for them. Pure: whoever has the rows can tell it again."""
