"""What a domain refuses, and why it can't be asked: Graph's errorType for each, and what to do about it."""

from __future__ import annotations

from cloudpc.model.errors import CloudPCError

# `data` of a refused bind: what Active Directory adds to "invalid credentials"
REFUSED_SIGN_IN = {
    "525": ("IncorrectCredentials", "there is no such account"),
    "52e": ("IncorrectCredentials", "account or password is wrong"),
    "530": ("AccessDenied", "the account may not sign in at this time"),
    "531": ("AccessDenied", "the account may not sign in from this machine"),
    "532": ("CredentialsExpired", "its password has expired"),
    "533": ("AccountLockedOrDisabled", "the account is disabled"),
    "701": ("CredentialsExpired", "the account has expired"),
    "773": ("CredentialsExpired", "its password must be changed first"),
    "775": ("AccountLockedOrDisabled", "the account is locked"),
}
NO_SECOND_TRY = {"IncorrectCredentials", "CredentialsExpired", "AccountLockedOrDisabled"}
"""What a refused sign-in says about the password or the account, whoever asks next."""
PASSES = {"busy", "unavailable", "operationsError", "other"}
"""LDAP's results that can be another one a moment later."""
_ACTIONS = {
    "AccessDenied": "Delegate to adDomainUsername on the organizational unit: create computer objects "
    "(docs/active-directory.md).",
    "AccountLockedOrDisabled": "Unlock or enable the account of adDomainUsername.",
    "AccountQuotaExceeded": "Delegate to adDomainUsername on the organizational unit: create computer objects; only "
    "without it ms-DS-MachineAccountQuota counts.",
    "ComputerObjectAlreadyExists": "Rename or remove the account of that name, or reprovision: a new Cloud PC gets "
    "a new name.",
    "CredentialsExpired": "Renew the password of adDomainUsername, and put it where adDomainPassword says.",
    "FqdnNotFound": "Check adDomainName and the DNS of this machine, or name domainControllers with their address.",
    "IncorrectCredentials": "Check adDomainUsername, and the secret that adDomainPassword names.",
    "OrganizationalUnitIncorrectFormat": "Write organizationalUnit as OU=…,DC=…, with \\ before special characters.",
    "OrganizationalUnitNotFound": "Check organizationalUnit, and that adDomainUsername may read it.",
    "ServerNotOperational": "Check that port 636 of the domain's controllers is reachable from here, and that "
    "caCertificate names the CA of their certificates.",
    "UnknownError": "The domain controller's event log says more.",
}


class DomainError(CloudPCError):
    """What the domain has refused, or why it can't be asked.

    Args:
        kind: Graph's errorType without its `adJoinCheck`.
        message: in words, without a secret.
        retriable: whether it can end differently without anybody doing anything.
        action: what to do about it, where more can be said than the kind says.
    """

    def __init__(self, kind: str, message: str, *, retriable: bool = False, action: str = "") -> None:
        super().__init__(message)
        self.error_type = f"adJoinCheck{kind}"
        self.hint = action or _ACTIONS[kind]
        self.message = message
        self.retriable = retriable


class NameTakenInDomainError(DomainError):
    """There is an account of that name, and it is not ours."""

    def __init__(self, message: str) -> None:
        super().__init__("ComputerObjectAlreadyExists", message)
