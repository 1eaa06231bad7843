#!/usr/bin/env bash
# The first article's Google side with gcloud alone, as it works today: what its printed text lost is put back.
# Where it differs from the print, the reason stands above the line.
#
#   gcloud.sh up      bucket, pool, provider, issuer documents, service account, bindings, sts-creds.json
#   gcloud.sh down    takes all of it away again (the pool's id stays taken for 30 days)
#
# Try it with no cloud:  podpass sandbox exec -- bash -c 'bash gcloud.sh up && bash gcloud.sh down'
set -euo pipefail

PROJECT="${PROJECT:-demo-project}"
BUCKET_NAME="${BUCKET_NAME:-demo-oidc}"
# Where keys.json and openid-configuration are read from instead of the cluster, if set.
DOCUMENTS="${DOCUMENTS:-}"
ACCOUNT="wif-demo-sa@${PROJECT}.iam.gserviceaccount.com"
export CLOUDSDK_CORE_PROJECT="${PROJECT}" CLOUDSDK_CORE_DISABLE_PROMPTS=1

document() { # the API server's path, or the file's name in DOCUMENTS
    if [[ -n "${DOCUMENTS}" ]]; then cat "${DOCUMENTS}/${1##*/}"; else kubectl get --raw "$1"; fi
}

publish() {
    # `gsutil -m cp -I` of the print reads a list of names; `cp -` reads the content.
    gcloud storage cp --cache-control="public, max-age=0" --content-type=application/json --predefined-acl=publicRead \
        - "gs://${BUCKET_NAME}/$1"
}

patiently() { # a new account is unknown to policies for some seconds
    local attempt
    for attempt in 1 2 3 4 5; do
        "$@" && return
        sleep "${attempt}"
    done
    "$@"
}

up() {
    gcloud storage buckets create "gs://${BUCKET_NAME}" --location=us-east1

    gcloud iam workload-identity-pools create workload-identity-demo \
        --location=global \
        --description="Workload Identity demo" \
        --display-name="Workload Identity Demo"

    # The print lost the attribute mapping, and names the bucket where its https address belongs.
    gcloud iam workload-identity-pools providers create-oidc wif-demo-oidc \
        --workload-identity-pool=workload-identity-demo \
        --issuer-uri="https://storage.googleapis.com/${BUCKET_NAME}" \
        --attribute-mapping="google.subject=assertion.sub,attribute.sub=assertion.sub" \
        --location=global

    local provider pool
    provider="$(gcloud iam workload-identity-pools providers list \
        --location=global --workload-identity-pool=workload-identity-demo --filter="name:wif-demo-oidc" --format="value(name)")"

    document /openid/v1/jwks | publish keys.json
    document /.well-known/openid-configuration | publish .well-known/openid-configuration

    gcloud iam service-accounts create wif-demo-sa

    pool="$(gcloud iam workload-identity-pools list --location=global --filter="name:workload-identity-demo" --format="value(name)")"

    # The print lost the host of the member and the domain of the account.
    patiently gcloud iam service-accounts add-iam-policy-binding "${ACCOUNT}" \
        --role=roles/iam.workloadIdentityUser \
        --member="principalSet://iam.googleapis.com/${pool}/attribute.sub/system:serviceaccount:default:workload-identity-demo"

    patiently gcloud projects add-iam-policy-binding "${PROJECT}" \
        --member="serviceAccount:${ACCOUNT}" \
        --role=roles/storage.admin

    # The print lost the provider's name.
    gcloud iam workload-identity-pools create-cred-config "${provider}" \
        --service-account="${ACCOUNT}" \
        --credential-source-file=/var/run/secrets/tokens/gcp-ksa/token \
        --output-file=sts-creds.json
}

down() {
    gcloud projects remove-iam-policy-binding "${PROJECT}" --member="serviceAccount:${ACCOUNT}" --role=roles/storage.admin
    gcloud iam service-accounts delete "${ACCOUNT}"
    gcloud iam workload-identity-pools delete workload-identity-demo --location=global
    gcloud storage rm --recursive "gs://${BUCKET_NAME}"
    rm -f sts-creds.json
}

case "${1:-}" in
    up | down) "$1" ;;
    *) echo "usage: $0 up | down" >&2; exit 2 ;;
esac
