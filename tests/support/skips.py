"""The one reason for a skip that holds everywhere."""

NOT_OF_THIS_KIND = "not of this kind of host"
"""A rule of the host contract is about something that a driver's hosts don't have."""
