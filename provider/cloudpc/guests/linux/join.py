"""How a guest joins a domain: with adcli."""

from __future__ import annotations

from cloudpc.model.devices import Join
from cloudpc.model.guests import Script

_SECONDS = 300.0

# Arguments: domain, realm, computer, its fully qualified name, how many controllers to name for good, then controller
# and address as guests see it, in pairs: the first has made the account, and the others need not know it yet. adcli
# signs in as the computer with the one-time password, sets another that only the guest knows, and writes the keytab.
_JOIN = r"""
set -eu
domain=$1 realm=$2 computer=$3 fqdn=$4 named=$5
shift 5
command -v adcli >/dev/null || { echo "the image has no adcli, which joins a domain" >&2; exit 1; }
password=$JOIN_PASSWORD
unset JOIN_PASSWORD

# Host names are not looked up backwards: the addresses of user-mode networking have no names, and others' may be wrong.
configure() { # CONTROLLER...; none: those that DNS names
    {
        printf '[libdefaults]\n\tdefault_realm = %s\n\trdns = false\n\tdns_canonicalize_hostname = false\n' "$realm"
        printf '[domain_realm]\n\t%s = %s\n\t.%s = %s\n' "$domain" "$realm" "$domain" "$realm"
        [ $# -eq 0 ] || printf '[realms]\n\t%s = {\n' "$realm"
        for kdc; do printf '\t\tkdc = %s\n\t\tkpasswd_server = %s\n' "$kdc" "$kdc"; done
        [ $# -eq 0 ] || printf '\t}\n'
    } > /etc/krb5.conf.cloudpc
    mv /etc/krb5.conf.cloudpc /etc/krb5.conf
}
sed -i '/# cloudpc: domain controller$/d' /etc/hosts
controllers=''
while [ $# -gt 0 ]; do
    controllers="$controllers $1"
    [ -z "$2" ] || printf '%s\t%s # cloudpc: domain controller\n' "$2" "$1" >> /etc/hosts
    shift 2
done

join() { # CONTROLLER
    configure "$1"
    printf %s "$password" | adcli join --domain-controller="$1" --domain="$domain" --domain-realm="$realm" \
        --computer-name="$computer" --host-fqdn="$fqdn" --login-type=computer --stdin-password &&
        adcli testjoin --domain-controller="$1" </dev/null
}
joined=1
for controller in $controllers; do # names of hosts: no spaces in them
    ! join "$controller" || { joined=0; break; }
done
[ "$named" -ne 0 ] || controllers=''
configure $controllers
exit $joined
"""


def script(join: Join) -> Script:
    """What joins, made_at first."""
    computer = join.account.name
    pairs = [part for c in dict.fromkeys([join.made_at, *join.controllers]) for part in (c.name, c.address)]
    fqdn, named = f"{computer.lower()}.{join.domain}", str(len(join.controllers))
    return Script(
        text=_JOIN,
        name="join",
        arguments=(join.domain, join.domain.upper(), computer, fqdn, named, *pairs),
        secrets={"JOIN_PASSWORD": join.password},
        timeout=_SECONDS,
    )
