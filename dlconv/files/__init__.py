"""What files hold, told from their bytes: nothing is loaded, nothing is unpickled."""
