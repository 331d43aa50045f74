"""The rooms of the SQL job store."""
