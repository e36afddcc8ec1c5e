"""The plugins that Ursa brings: Kubernetes' own, under their names, and a few more. One file each."""
