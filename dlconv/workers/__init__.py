"""Child processes, their protocol and limits; toolchains."""
