#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Drives the EC2 fake with AWS's own client: what botocore signs must verify here, what it asks for must be known here,
# and what is answered here must be read by its model of the API.
"""usage: boto_check.py [FOLDER]      FOLDER: as given to `moto install`, used where the system has no boto3; exit 77: none"""
import base64
import glob
import json
import os
import subprocess
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
try:
    import boto3
except ImportError:
    sys.path.extend(glob.glob(os.path.join((sys.argv[1:] or [""])[0], "lib", "python3*", "site-packages")))
    try:
        import boto3
    except ImportError:
        print("\n*** SKIPPED: neither python3-boto3 nor a folder of tests/fakes/aws/moto is here, so the EC2 fake was NOT held to AWS's client.")
        sys.exit(77)
import unittest

from botocore.config import Config
from botocore.exceptions import ClientError

TAGS = [{"Key": "berth:deployment", "Value": "D"}, {"Key": "berth:machine", "Value": "m"}]
IMAGE = "ami-1e749f67"


def specs(*kinds):
    return [{"ResourceType": kind, "Tags": TAGS} for kind in kinds]


class Boto(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fake = subprocess.Popen([sys.executable, os.path.join(HERE, "ec2_fake.py")], stdout=subprocess.PIPE, text=True)
        cls.url = "http://127.0.0.1:" + cls.fake.stdout.readline().split()[1]

    @classmethod
    def tearDownClass(cls):
        cls.fake.kill()
        cls.fake.wait()
        cls.fake.stdout.close()

    def setUp(self):
        self.control("reset")
        self.ec2 = self.client()

    def client(self, access="AKIDFAKE", secret="fake-secret", token=None):
        return boto3.client("ec2", region_name="eu-central-1", endpoint_url=self.url, aws_access_key_id=access, aws_secret_access_key=secret,
                            aws_session_token=token, config=Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=10))

    def control(self, path, body=None):
        request = urllib.request.Request(self.url + "/_control/" + path, json.dumps(body or {}).encode(), method="POST")
        urllib.request.urlopen(request, timeout=10).read()

    def fails(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)

    def run_one(self, **more):
        return self.ec2.run_instances(ImageId=IMAGE, InstanceType="t3.small", MinCount=1, MaxCount=1, TagSpecifications=specs("instance", "volume"),
                                      **more)["Instances"][0]

    def instances(self, **arguments):
        return [i for r in self.ec2.describe_instances(**arguments)["Reservations"] for i in r["Instances"]]

    def test_signatures(self):
        self.assertEqual(self.client("ASIAFAKE", "temporary-secret", "temporary-token").describe_key_pairs()["KeyPairs"], [])
        self.fails("SignatureDoesNotMatch", self.client(secret="wrong").describe_key_pairs)
        self.fails("InvalidClientTokenId", self.client("ASIAFAKE", "temporary-secret", "wrong").describe_key_pairs)
        self.fails("AuthFailure", self.client("AKIDOTHER").describe_key_pairs)

    def test_a_machines_life(self):
        vpc = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        image = self.ec2.describe_images(ImageIds=[IMAGE])["Images"][0]
        self.assertEqual(image["RootDeviceName"], "/dev/sda1")
        self.assertIn("Ebs", image["BlockDeviceMappings"][0])
        group = self.ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc, TagSpecifications=specs("security-group"))["GroupId"]
        self.fails("InvalidGroup.Duplicate", self.ec2.create_security_group, GroupName="g", Description="d", VpcId=vpc)
        rule = [{"IpProtocol": "tcp", "FromPort": 2222, "ToPort": 2222, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
        self.fails("InvalidPermission.Duplicate", self.ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=rule)
        public = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBvUKFHhpNv0w1e4zTyTW5bXoSmFUe8yfxhwV5zbxqN x"
        key = self.ec2.import_key_pair(KeyName="k", PublicKeyMaterial=public, TagSpecifications=specs("key-pair"))["KeyPairId"]
        made = self.run_one(ClientToken="t1", KeyName="k", SecurityGroupIds=[group], UserData="#cloud-config\n", InstanceInitiatedShutdownBehavior="terminate",
                            MetadataOptions={"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
                            InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}},
                            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": True, "VolumeSize": 30}}])
        self.assertEqual((made["State"], made["InstanceLifecycle"], made["ClientToken"]), ({"Code": 0, "Name": "pending"}, "spot", "t1"))
        mine = [{"Name": "tag:berth:machine", "Values": ["m"]}]
        seen = [self.instances(Filters=mine)[0]["State"]["Name"] for _ in range(3)]
        self.assertEqual(seen, ["pending", "running", "running"])
        self.assertEqual(self.instances(Filters=mine)[0]["Tags"], TAGS)
        self.assertEqual(self.ec2.describe_volumes(Filters=mine)["Volumes"][0]["Size"], 30)
        self.assertEqual(self.ec2.describe_key_pairs(Filters=mine)["KeyPairs"][0]["KeyPairId"], key)
        self.assertEqual(self.ec2.describe_security_groups(Filters=mine)["SecurityGroups"][0]["IpPermissions"][0]["ToPort"], 2222)
        self.fails("DependencyViolation", self.ec2.delete_security_group, GroupId=group)
        ending = self.ec2.terminate_instances(InstanceIds=[made["InstanceId"]])["TerminatingInstances"][0]
        self.assertEqual((ending["PreviousState"]["Name"], ending["CurrentState"]["Name"]), ("running", "shutting-down"))
        self.assertEqual([self.instances()[0]["State"]["Name"] for _ in range(2)], ["shutting-down", "terminated"])
        self.assertEqual(self.ec2.describe_volumes()["Volumes"], [])
        self.ec2.delete_security_group(GroupId=group)
        self.ec2.delete_key_pair(KeyPairId=key)
        self.fails("InvalidGroup.NotFound", self.ec2.delete_security_group, GroupId=group)
        self.fails("InvalidInstanceID.NotFound", self.ec2.terminate_instances, InstanceIds=["i-0"])

    def test_a_client_token_is_one_instance(self):
        first = self.run_one(ClientToken="t")
        self.assertEqual(self.run_one(ClientToken="t")["InstanceId"], first["InstanceId"])
        self.fails("IdempotentParameterMismatch", self.run_one, ClientToken="t", UserData="other")
        self.assertEqual(len(self.instances()), 1)

    def test_pages(self):
        made = {self.run_one()["InstanceId"] for _ in range(5)}
        self.control("set", {"page_size": 2})
        pages = list(self.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 100}))
        self.assertEqual(len(pages), 3)
        self.assertEqual({i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]}, made)
        self.fails("InvalidNextToken", self.ec2.describe_instances, NextToken="x", MaxResults=5)

    def test_faults_reach_the_client(self):
        self.control("rules", [{"action": "RunInstances", "kind": "error", "code": "VcpuLimitExceeded", "message": "<too> many & more"}])
        self.fails("VcpuLimitExceeded", self.run_one)
        self.control("set", {"clock_offset": 3600})
        self.fails("RequestExpired", self.ec2.describe_volumes)

    def test_what_is_not_known_is_refused(self):
        self.fails("UnknownParameter", self.ec2.describe_volumes, VolumeIds=["vol-1"])
        self.fails("InvalidAction", self.ec2.describe_addresses)
        self.fails("InvalidAMIID.NotFound", self.ec2.describe_images, ImageIds=["ami-0"])
        self.fails("InvalidParameterValue", self.ec2.run_instances, ImageId=IMAGE, InstanceType="big", MinCount=1, MaxCount=1)
        self.fails("InvalidParameterValue", self.run_one, UserData=base64.b64encode(bytes(16385)).decode() + "x" * 16385)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
