raise RuntimeError("it is here, and broken")
