"""Signing in to Microsoft Entra, for whatever of Microsoft's is asked: its clouds, credentials, tokens."""
