"""A provisioning policy and a network connection as a tenant with Windows 365 has them."""

from __future__ import annotations

from tests.tenant.identifiers import guid
from tests.tenant.odata import Json

CONNECTION: Json = {
    "id": guid("connection", "headquarters"),
    "displayName": "Headquarters",
    "connectionType": "hybridAzureADJoin",
    "adDomainName": "corp.contoso.example",
    "adDomainUsername": "join@corp.contoso.example",
    "organizationalUnit": "OU=Cloud PCs,DC=corp,DC=contoso,DC=example",
    "healthCheckStatus": "passed",
    "healthCheckPaused": False,
    "inUse": True,
    "resourceGroupId": "/subscriptions/0ac520ee-14c0-480f-b6c9-0a90c58ffff1/resourceGroups/cloud-pcs",
    "subnetId": "/subscriptions/0ac520ee-14c0-480f-b6c9-0a90c58ffff1/resourceGroups/cloud-pcs/providers/"
    "Microsoft.Network/virtualNetworks/headquarters/subnets/cloud-pcs",
    "subscriptionId": "0ac520ee-14c0-480f-b6c9-0a90c58ffff1",
    "subscriptionName": "Production",
    "virtualNetworkId": "/subscriptions/0ac520ee-14c0-480f-b6c9-0a90c58ffff1/resourceGroups/cloud-pcs/providers/"
    "Microsoft.Network/virtualNetworks/headquarters",
    "scopeIds": ["0"],
}

POLICY: Json = {
    "id": guid("policy", "engineering"),
    "displayName": "Engineering workstations",
    "description": "Two regions, the second when the first has no room",
    "provisioningType": "dedicated",
    "imageType": "gallery",
    "imageId": "microsoftwindowsdesktop_windows-ent-cpc_win11-24H2-ent-cpc-m365",
    "imageDisplayName": "Windows 11 Enterprise + Microsoft 365 Apps 24H2",
    "domainJoinConfigurations": [
        {"domainJoinType": "azureADJoin", "regionName": "automatic", "regionGroup": "germany"},
        {"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": CONNECTION["id"]},
    ],
    "windowsSetting": {"locale": "de-DE"},
    "cloudPcNamingTemplate": "CPC-%USERNAME:5%-%RAND:5%",
    "enableSingleSignOn": True,
    "localAdminEnabled": False,
    "gracePeriodInHours": 168,
    "alternateResourceUrl": None,
    "cloudPcGroupDisplayName": None,
    "microsoftManagedDesktop": {"managedType": "notManaged", "profile": ""},
    "autopatch": None,
}
