"""The local machine: Java, jars and the real engines a laptop runs."""
