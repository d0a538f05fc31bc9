"""Where Cloud PCs are registered: Microsoft Entra and Intune, Active Directory."""
