"""Signing in to Microsoft Entra for all of Microsoft's services: clouds, credentials, tokens."""
