"""Where tenants live, and moving them from one tenant partition to another."""
