"""Gets and lists as Kubernetes defines them: which revision they are of, in pages, in steps, and never too old."""
