#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The work of site.yml as tutorials tell their reader to do it: openssl, zip and the AWS CLI, one command after the other.
# Usage: by_hand.sh WORK_DIRECTORY HOME_REGION [REGION...], with AWS_ENDPOINT_URL, ACCOUNT_ID and HOSTED_ZONE_ID set.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$1
home=$2
shift
application=multi-region-iot
domain=iot.example.com
mkdir -p "$work"
cd "$work"

# --- PKI: the ec profile
ca_config() {
  cat >"$1.cnf" <<CNF
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$domain
CNF
}
ca_config openssl
openssl ecparam -name secp384r1 -genkey -noout -out root.key.pem
openssl req -x509 -config openssl.cnf -extensions root -key root.key.pem -sha256 -days 7300 -subj "/O=Fleet/CN=Fleet Root CA" -out root.cert.pem
openssl ecparam -name prime256v1 -genkey -noout -out issuing.key.pem
openssl req -new -config openssl.cnf -key issuing.key.pem -subj "/O=Fleet/CN=Fleet Issuing CA G1" -out issuing.csr.pem
openssl x509 -req -in issuing.csr.pem -CA root.cert.pem -CAkey root.key.pem -CAcreateserial -extfile openssl.cnf -extensions issuing -sha256 -days 3650 -out issuing.cert.pem
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out server.key.pem
openssl req -new -config openssl.cnf -key server.key.pem -subj "/CN=$domain" -out server.csr.pem
openssl x509 -req -in server.csr.pem -CA issuing.cert.pem -CAkey issuing.key.pem -CAcreateserial -extfile openssl.cnf -extensions server -sha256 -days 375 -out server.cert.pem
cat issuing.cert.pem root.cert.pem >ca-chain.cert.pem

# --- Lambda package
mkdir package
pip download --quiet --no-input --disable-pip-version-check --only-binary=:all: --platform manylinux2014_x86_64 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_34_x86_64 --python-version 3.13 --implementation cp \
  --dest wheels --requirement "$root/files/lambda/certificate_identity/requirements.txt"
for wheel in wheels/*.whl; do python -m zipfile -e "$wheel" package; done
cp "$root"/files/lambda/certificate_identity/*.py package/
cp issuing.cert.pem package/ca-bundle.pem
(cd package && python -m zipfile -c ../certificate-identity.zip ./*)

# --- definitions
for definition in "$root"/files/asl/*.asl.yaml; do
  python -c 'import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)' "$definition" >"$(basename "$definition" .yaml).json"
done

# --- global tables
python - "$root/files/cloudformation/global.yaml" "$@" >global.json <<'PY'
import copy, json, sys, yaml
template = yaml.safe_load(open(sys.argv[1]))
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::DynamoDB::GlobalTable":
        like = resource["Properties"]["Replicas"][0]
        resource["Properties"]["Replicas"] += [{**copy.deepcopy(like), "Region": region} for region in sys.argv[3:]]
json.dump(template, sys.stdout, default=str)
PY
deploy() { # region stack template [parameter...]
  local region=$1 stack=$2 template=$3
  shift 3
  aws cloudformation deploy --region "$region" --stack-name "$application-$stack" --template-file "$template" \
    --capabilities CAPABILITY_IAM --tags Application=$application --parameter-overrides Application=$application "$@" >/dev/null
}
deploy "$home" global global.json

# --- regions, one after the other
for region in "$@"; do
  templates=$root/files/cloudformation
  deploy "$region" foundation "$templates/foundation.yaml"
  bucket=$application-$ACCOUNT_ID-$region-artifacts
  for file in certificate-identity.zip register-device.asl.json converge-device.asl.json store-message.asl.json; do
    aws s3 cp --region "$region" --quiet "$file" "s3://$bucket/$file"
  done
  stream=$(aws dynamodb describe-table --region "$region" --table-name $application-device-inventory --query Table.LatestStreamArn --output text)
  deploy "$region" replication "$templates/replication.yaml" StreamArn="$stream" ConvergeDeviceDefinition=converge-device.asl.json
  deploy "$region" onboarding "$templates/onboarding.yaml" \
    RegisterDeviceDefinition=register-device.asl.json CertificateIdentityPackage=certificate-identity.zip
  deploy "$region" messages "$templates/messages.yaml" StoreMessageDefinition=store-message.asl.json
  certificate=$(aws acm import-certificate --region "$region" --certificate fileb://server.cert.pem --private-key fileb://server.key.pem \
    --certificate-chain fileb://ca-chain.cert.pem --tags Key=Application,Value=$application --query CertificateArn --output text)
  events="THING THING_GROUP THING_TYPE THING_GROUP_MEMBERSHIP THING_GROUP_HIERARCHY THING_TYPE_ASSOCIATION JOB JOB_EXECUTION POLICY CERTIFICATE CA_CERTIFICATE"
  configurations=
  for event in $events; do configurations+="${configurations:+,}\"$event\":{\"Enabled\":true}"; done
  aws iot update-event-configurations --region "$region" --event-configurations "{$configurations}" >/dev/null
  aws iot describe-event-configurations --region "$region" >/dev/null
  aws iot register-ca-certificate --region "$region" --ca-certificate file://issuing.cert.pem --certificate-mode SNI_ONLY \
    --set-as-active --allow-auto-registration >/dev/null
  endpoint=$(aws iot describe-endpoint --region "$region" --endpoint-type iot:Data-ATS --query endpointAddress --output text)
  deploy "$region" endpoint "$templates/endpoint.yaml" DomainName=$domain HostedZoneId="$HOSTED_ZONE_ID" \
    ServerCertificateArn="$certificate" DeviceEndpoint="$endpoint"
done
