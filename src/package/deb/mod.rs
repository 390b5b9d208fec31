//! Debian packages: the words of dpkg and apt.
