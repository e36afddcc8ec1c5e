"""What the command line does with objects: read them from files, find them in partitions, print them."""
