# SPDX-License-Identifier: Apache-2.0
# A small EC2 in memory: the actions that the driver uses, with EC2's rules on what may go before what. Time passes by
# being looked at: an instance stays pending, or shutting down, for a number of DescribeInstances.
import base64
import binascii
import json
import os
import re
from xml.sax.saxutils import escape

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
# Two builds of one image under its publisher's id, and a third party's of the same name. moto serves the same ones.
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "images.json"), encoding="utf-8") as file:
    IMAGES = [(image["ami_id"], image["owner_id"], image["name"], image["creation_date"]) for image in json.load(file)]
CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


class Failure(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def numbered(params, pattern):
    """{1: {"Name": …}, …} of `Filter.1.Name`-like parameters."""
    out = {}
    for name, value in params.items():
        match = re.fullmatch(pattern + r"\.(\d+)(?:\.(.+))?", name)
        if match:
            out.setdefault(int(match.group(1)), {})[match.group(2) or ""] = value
    return [out[number] for number in sorted(out)]


def tags_of(params, resource):
    for spec in numbered(params, "TagSpecification"):
        if spec.get("ResourceType") == resource:
            return {tag["Key"]: tag.get("Value", "") for tag in numbered(spec, "Tag")}
    return {}


def tag_set(tags):
    return "<tagSet>%s</tagSet>" % "".join(
        "<item><key>%s</key><value>%s</value></item>" % (escape(k), escape(v)) for k, v in tags.items())


def answer(action, content):
    return '<?xml version="1.0" encoding="UTF-8"?>\n<%sResponse xmlns="%s"><requestId>fake</requestId>%s</%sResponse>' % (
        action, NAMESPACE, content, action)


class Region:
    def __init__(self, name):
        self.vpc = "vpc-" + name
        self.instances, self.keys, self.groups, self.volumes = {}, {}, {}, {}


class Ec2Memory:
    def __init__(self):
        self.regions, self.last = {}, 0
        self.pending_looks = 1
        self.ending_looks = 1

    def reset(self):
        self.__init__()

    def touched(self):
        """The regions that anything was ever asked of."""
        return sorted(self.regions)

    def new_id(self, prefix):
        self.last += 1
        return "%s-%017x" % (prefix, self.last)

    def call(self, region, params, peek=False):
        """(status, body)"""
        here = self.regions.setdefault(region, Region(region))
        self.peek = peek
        return 200, answer(params["Action"], getattr(self, params["Action"])(here, params))

    # --- reading --------------------------------------------------------------------------------------------
    @staticmethod
    def selected(params, fields, tags):
        """Whether every filter holds: `fields` of the thing, and its tags."""
        for item in numbered(params, "Filter"):
            name, values = item["Name"], [v for k, v in item.items() if k.startswith("Value")]
            if name.startswith("tag:"):
                if tags.get(name[4:]) not in values:
                    return False
            elif not any(re.fullmatch(re.escape(v).replace(r"\*", ".*"), fields[name]) for v in values):
                return False
        return True

    def DescribeInstances(self, here, params):
        out = []
        wanted = [v[""] for v in numbered(params, "InstanceId")]
        for wish in wanted:
            if wish not in here.instances:
                raise Failure("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist" % wish)
        for instance in here.instances.values():
            if not self.peek:
                self.age(here, instance)
            if wanted and instance["id"] not in wanted:
                continue
            if self.selected(params, {"instance-state-name": instance["state"]}, instance["tags"]):
                out.append("<item><reservationId>r-%s</reservationId><instancesSet>%s</instancesSet></item>" % (
                    instance["id"], self.instance_item(instance)))
        return "<reservationSet>%s</reservationSet>" % "".join(out)

    def age(self, here, instance):
        if instance["looks"] > 0:
            instance["looks"] -= 1
        elif instance["state"] == "pending":
            instance["state"] = "running"
        elif instance["state"] == "shutting-down":
            instance["state"] = "terminated"
            for volume in list(here.volumes.values()):
                if volume["instance"] == instance["id"]:
                    if volume["delete"]:
                        del here.volumes[volume["id"]]
                    else:
                        volume["state"], volume["instance"] = "available", ""

    def instance_item(self, instance):
        reason = instance.get("reason")
        return ("<item><instanceId>%s</instanceId><imageId>%s</imageId><instanceState><code>%d</code><name>%s</name></instanceState>"
                "<instanceType>%s</instanceType><launchTime>%s</launchTime><clientToken>%s</clientToken>%s%s%s%s"
                "<metadataOptions><state>applied</state><httpTokens>%s</httpTokens></metadataOptions><groupSet>%s</groupSet>%s</item>") % (
            instance["id"], instance["image"], CODES[instance["state"]], instance["state"], instance["type"], instance["launched"],
            escape(instance["token"]), "<keyName>%s</keyName>" % instance["key"] if instance["key"] else "",
            "<instanceLifecycle>spot</instanceLifecycle>" if instance["spot"] else "",
            "<stateReason><code>%s</code><message>%s</message></stateReason>" % (reason, reason) if reason else "",
            "<subnetId>%s</subnetId>" % instance["subnet"] if instance["subnet"] else "", instance["tokens"],
            "".join("<item><groupId>%s</groupId><groupName>%s</groupName></item>" % g for g in instance["groups"]), tag_set(instance["tags"]))

    def DescribeKeyPairs(self, here, params):
        return "<keySet>%s</keySet>" % "".join(
            "<item><keyPairId>%s</keyPairId><keyName>%s</keyName>%s</item>" % (key["id"], escape(key["name"]), tag_set(key["tags"]))
            for key in here.keys.values() if self.selected(params, {"key-name": key["name"]}, key["tags"]))

    def DescribeSecurityGroups(self, here, params):
        return "<securityGroupInfo>%s</securityGroupInfo>" % "".join(
            "<item><groupId>%s</groupId><groupName>%s</groupName><vpcId>%s</vpcId><ipPermissions>%s</ipPermissions>%s</item>" % (
                group["id"], escape(group["name"]), group["vpc"], "".join(
                    "<item><ipProtocol>tcp</ipProtocol><fromPort>%s</fromPort><toPort>%s</toPort></item>" % (f, t) for f, t, _ in group["ingress"]),
                tag_set(group["tags"]))
            for group in here.groups.values() if self.selected(params, {"group-name": group["name"], "vpc-id": group["vpc"]}, group["tags"]))

    def DescribeVolumes(self, here, params):
        return "<volumeSet>%s</volumeSet>" % "".join(
            "<item><volumeId>%s</volumeId><size>%s</size><status>%s</status>%s</item>" % (v["id"], v["size"], v["state"], tag_set(v["tags"]))
            for v in here.volumes.values() if self.selected(params, {}, v["tags"]))

    def DescribeVpcs(self, here, params):
        return "<vpcSet>%s</vpcSet>" % ("<item><vpcId>%s</vpcId><isDefault>true</isDefault></item>" % here.vpc
                                        if self.selected(params, {"is-default": "true"}, {}) else "")

    def DescribeImages(self, here, params):
        ids = [v[""] for v in numbered(params, "ImageId")]
        owners = [v[""] for v in numbered(params, "Owner")]
        for wish in ids:
            if wish not in [image[0] for image in IMAGES]:
                raise Failure("InvalidAMIID.NotFound", "The image id '[%s]' does not exist" % wish)
        return "<imagesSet>%s</imagesSet>" % "".join(
            "<item><imageId>%s</imageId><imageState>available</imageState><imageOwnerId>%s</imageOwnerId><name>%s</name>"
            "<creationDate>%s</creationDate><rootDeviceName>/dev/sda1</rootDeviceName><blockDeviceMapping>"
            "<item><deviceName>/dev/sda1</deviceName><ebs><volumeSize>8</volumeSize><deleteOnTermination>false</deleteOnTermination></ebs></item>"
            "<item><deviceName>/dev/sdb</deviceName><virtualName>ephemeral0</virtualName></item></blockDeviceMapping></item>" % image
            for image in IMAGES if (not ids or image[0] in ids) and (not owners or image[1] in owners)
            and self.selected(params, {"name": image[2], "state": "available"}, {}))

    # --- making ---------------------------------------------------------------------------------------------
    def RunInstances(self, here, params):
        if params["ImageId"] not in [image[0] for image in IMAGES]:
            raise Failure("InvalidAMIID.NotFound", "The image id '[%s]' does not exist" % params["ImageId"])
        try:
            data = base64.b64decode(params.get("UserData", ""), validate=True)
        except binascii.Error:
            raise Failure("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data")
        if len(data) > 16384:
            raise Failure("InvalidParameterValue", "User data is limited to 16384 bytes")
        groups = [v[""] for v in numbered(params, "SecurityGroupId")]
        for group in groups:
            if group not in here.groups:
                raise Failure("InvalidGroup.NotFound", "The security group '%s' does not exist" % group)
        key = params.get("KeyName", "")
        if key and key not in here.keys:
            raise Failure("InvalidKeyPair.NotFound", "The key pair '%s' does not exist" % key)
        instance = {
            "id": self.new_id("i"), "image": params["ImageId"], "state": "pending", "looks": self.pending_looks, "type": params["InstanceType"],
            "launched": "2026-01-01T00:00:%02d.000Z" % (self.last % 60), "token": params.get("ClientToken", ""), "key": key,
            "spot": params.get("InstanceMarketOptions.MarketType") == "spot", "subnet": params.get("SubnetId", ""),
            "tokens": params.get("MetadataOptions.HttpTokens", "optional"),
            "groups": [(group, here.groups[group]["name"]) for group in groups], "tags": tags_of(params, "instance")}
        here.instances[instance["id"]] = instance
        mapped = {m["DeviceName"]: m for m in numbered(params, "BlockDeviceMapping")}
        root = mapped.get("/dev/sda1", {})
        volume = {"id": self.new_id("vol"), "instance": instance["id"], "state": "in-use", "size": root.get("Ebs.VolumeSize", "8"),
                  "delete": root.get("Ebs.DeleteOnTermination") == "true", "tags": tags_of(params, "volume")}
        here.volumes[volume["id"]] = volume
        return "<reservationId>r-%s</reservationId><instancesSet>%s</instancesSet>" % (instance["id"], self.instance_item(instance))

    def ImportKeyPair(self, here, params):
        name = params["KeyName"]
        if name in here.keys:
            raise Failure("InvalidKeyPair.Duplicate", "The keypair '%s' already exists." % name)
        text = base64.b64decode(params["PublicKeyMaterial"], validate=True).decode()
        if not re.match(r"ssh-(ed25519|rsa) [A-Za-z0-9+/=]+", text):
            raise Failure("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
        key = {"id": self.new_id("key"), "name": name, "tags": tags_of(params, "key-pair")}
        here.keys[name] = key
        return "<keyName>%s</keyName><keyFingerprint>00</keyFingerprint><keyPairId>%s</keyPairId>" % (name, key["id"])

    def CreateSecurityGroup(self, here, params):
        vpc = params.get("VpcId", here.vpc)
        if any(g["name"] == params["GroupName"] and g["vpc"] == vpc for g in here.groups.values()):
            raise Failure("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'" % (params["GroupName"], vpc))
        group = {"id": self.new_id("sg"), "name": params["GroupName"], "vpc": vpc, "ingress": [], "tags": tags_of(params, "security-group")}
        here.groups[group["id"]] = group
        return "<return>true</return><groupId>%s</groupId>" % group["id"]

    def AuthorizeSecurityGroupIngress(self, here, params):
        group = here.groups.get(params["GroupId"])
        if not group:
            raise Failure("InvalidGroup.NotFound", "The security group '%s' does not exist" % params["GroupId"])
        for permission in numbered(params, "IpPermissions"):
            for source in [v for k, v in permission.items() if k.startswith(("IpRanges", "Ipv6Ranges"))]:
                rule = (permission["FromPort"], permission["ToPort"], source)
                if rule in group["ingress"]:
                    raise Failure("InvalidPermission.Duplicate", "the specified rule already exists")
                group["ingress"].append(rule)
        return "<return>true</return>"

    # --- removing -------------------------------------------------------------------------------------------
    def TerminateInstances(self, here, params):
        ids = [v[""] for v in numbered(params, "InstanceId")]
        for wish in ids:
            if wish not in here.instances:
                raise Failure("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist" % wish)
        out = []
        for wish in ids:
            instance, before = here.instances[wish], here.instances[wish]["state"]
            if before not in ("shutting-down", "terminated"):
                instance["state"], instance["looks"] = "shutting-down", self.ending_looks
                instance["reason"] = "Client.UserInitiatedShutdown"
            out.append("<item><instanceId>%s</instanceId><currentState><code>%d</code><name>%s</name></currentState><previousState><code>%d</code>"
                       "<name>%s</name></previousState></item>" % (wish, CODES[instance["state"]], instance["state"], CODES[before], before))
        return "<instancesSet>%s</instancesSet>" % "".join(out)

    def DeleteKeyPair(self, here, params):
        for name, key in list(here.keys.items()):
            if key["id"] == params.get("KeyPairId") or name == params.get("KeyName"):
                del here.keys[name]
                return "<return>true</return>"
        if "KeyPairId" in params:
            raise Failure("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist" % params["KeyPairId"])
        return "<return>true</return>"

    def DeleteSecurityGroup(self, here, params):
        wish = params["GroupId"]
        if wish not in here.groups:
            raise Failure("InvalidGroup.NotFound", "The security group '%s' does not exist" % wish)
        for instance in here.instances.values():
            if instance["state"] != "terminated" and wish in [g[0] for g in instance["groups"]]:
                raise Failure("DependencyViolation", "resource %s has a dependent object" % wish)
        del here.groups[wish]
        return "<return>true</return>"

    def DeleteVolume(self, here, params):
        volume = here.volumes.get(params["VolumeId"])
        if not volume:
            raise Failure("InvalidVolume.NotFound", "The volume '%s' does not exist." % params["VolumeId"])
        if volume["state"] == "in-use":
            raise Failure("VolumeInUse", "Volume %s is currently attached" % volume["id"])
        del here.volumes[volume["id"]]
        return "<return>true</return>"
