"""Claims, volumes and their classes, for all who deal with them: the controllers, the schedulers, the kubelets."""
