"""A request from its arrival to its answer: who asked, where its time went, and the record that is kept of it."""
