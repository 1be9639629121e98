#!/bin/bash
#
# A bootstrap action for Amazon EMR: puts an Elastic IP on the primary node of its own cluster, and takes it from nobody.
#
# Made by: airflow-eip bootstrap-script (airflow-eip-provider @VERSION@). Make it anew rather than edit it.
#
# Arguments of the action:
#   s3://BUCKET/PATH/parametersValues.json [--wait 30m] [--when-busy fail|continue] [--poll 15s]
#
# Exit status: 0 the address is on this node; or this is another node; or it stayed busy, and --when-busy is "continue"
#              1 it stayed busy, or an error; EMR ends the cluster
#              2 wrong arguments or parameters; nothing was changed in AWS, and EMR ends the cluster

set -uo pipefail

wait=@WAIT@
when_busy=@WHEN_BUSY@
poll=15s
lock_store=@LOCK_STORE@
environment=@ENVIRONMENT@

FAILED=1 WRONG=2 BUSY=3

say() {
    printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"
}

# fail STATUS MESSAGE
fail() {
    local message="${*:2}"
    say "error: ${message//$'\n'/ }" >&2
    exit "$1"
}

main() {
    read_arguments "$@"
    info="${EMR_NODE_INFO:-/mnt/var/lib/info}"
    python=$(command -v python3) || fail $FAILED "this node has no python3"
    primary=$(node_info instance.json isMaster) || exit
    if [[ $primary != True ]]; then
        say "not the primary node: nothing to do"
        exit 0
    fi
    check_node
    work=$(mktemp -d) || fail $FAILED "no temporary directory can be made"
    leasing=""     # a lease or a place in the queue may have to be given back
    associated=""  # this run has sent AssociateAddress
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    base64 -d <&3 >"$work/programs.pyz" || fail $FAILED "the programs in this script are damaged"
    find_self
    read_parameters
    look
    deadline=$((SECONDS + wait_seconds))
    if [[ -n $lock_store ]]; then
        leasing=yes
        say "entering the queue of $allocation_id in $lock_store"
        lease enter --wait "$wait_seconds" || lease_failed $?
    fi
    until associate; do
        ((SECONDS < deadline)) || busy
        say "waiting: $allocation_id is $place"
        sleep "$poll_seconds"
    done
    if [[ -n $lock_store ]]; then
        lease hand-over || exit $FAILED
        leasing=""
    fi
    say "$allocation_id ($public_ip) is on this node: $interface of cluster $cluster"
}

read_arguments() {
    parameters=""
    while (($#)); do
        case $1 in
            --wait | --when-busy | --poll)
                (($# > 1)) || fail $WRONG "$1 needs a value"
                case $1 in
                    --wait) wait=$2 ;;
                    --poll) poll=$2 ;;
                    *) when_busy=$2 ;;
                esac
                shift 2
                ;;
            s3://?*/?*)
                [[ -z $parameters ]] || fail $WRONG "two parameters files are named: $parameters and $1"
                parameters=$1
                shift
                ;;
            *) fail $WRONG "unknown argument '$1'; give s3://BUCKET/PATH/parametersValues.json, --wait, --when-busy, --poll" ;;
        esac
    done
    [[ -n $parameters ]] || fail $WRONG "no parameters file is named: give s3://BUCKET/PATH/parametersValues.json"
    [[ $when_busy == fail || $when_busy == continue ]] || fail $WRONG "--when-busy is '$when_busy', neither fail nor continue"
    wait_seconds=$(seconds "$wait") || fail $WRONG "--wait is '$wait', no time span such as 90s or 30m"
    poll_seconds=$(seconds "$poll") || fail $WRONG "--poll is '$poll', no time span such as 15s"
    ((poll_seconds)) || fail $WRONG "--poll is 0"
}

seconds() {
    local -A units=([s]=1 [m]=60 [h]=3600 [d]=86400)
    [[ $1 =~ ^([0-9]{1,6})([smhd]?)$ ]] || return 1
    echo $((10#${BASH_REMATCH[1]} * ${units[${BASH_REMATCH[2]:-s}]}))
}

# What this needs, before anything is changed.
check_node() {
    local program
    for program in aws curl base64; do
        command -v "$program" >/dev/null || fail $FAILED "this node has no $program"
    done
    say "$(aws --version 2>&1), $("$python" --version 2>&1)"
    if [[ -n $lock_store ]] && ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        fail $WRONG "the lock needs Python 3.9 and this release of EMR has an older one:" \
            "use EMR 7 or newer, or make the script without --lock-store"
    fi
}

# node_info FILE KEY: what EMR says of this node
node_info() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$info/$1" "$2" ||
        fail $FAILED "$info/$1 does not say $2: this is no node of an EMR cluster"
}

# Which cluster, instance and network interface this is (instance metadata service, version 2).
find_self() {
    local mac
    endpoint=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
    endpoint=${endpoint%/}
    token=$(ask_metadata --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 300" "$endpoint/latest/api/token") &&
        region=$(metadata placement/region) &&
        instance=$(metadata instance-id) &&
        mac=$(metadata mac) &&
        interface=$(metadata "network/interfaces/macs/$mac/interface-id") &&
        vpc=$(metadata "network/interfaces/macs/$mac/vpc-id") ||
        fail $FAILED "the instance metadata service at $endpoint does not answer"
    cluster=$(node_info job-flow.json jobFlowId) || exit
    say "the primary node of cluster $cluster: $instance, $interface in $vpc, $region"
}

ask_metadata() {
    curl --silent --show-error --fail --noproxy '*' --max-time 5 --retry 5 "$@"
}

metadata() {
    ask_metadata --header "X-aws-ec2-metadata-token: $token" "$endpoint/latest/meta-data/$1"
}

read_parameters() {
    local said
    say "reading $parameters"
    said=$(aws s3 cp --only-show-errors "$parameters" "$work/parametersValues.json" --region "$region" 2>&1) ||
        fail $WRONG "reading $parameters: $said"
    said=$(cd "$work" && "$python" -I -S programs.pyz parameters parametersValues.json 2>&1) ||
        fail $WRONG "$parameters: $said"
    read -r allocation_id vpc_wanted <<<"$said"
    [[ $vpc == "$vpc_wanted" ]] ||
        fail $WRONG "$parameters: clusterVPCID is $vpc_wanted, and this cluster is in $vpc"
}

# Where the address is.
look() {
    local said holder
    said=$(ec2 describe-addresses --allocation-ids "$allocation_id" \
        --query 'Addresses[0].[PublicIp,NetworkInterfaceId,InstanceId]' --output text) || address_failed "$said"
    read -r public_ip carrier holder <<<"$said"
    place="on $carrier"
    [[ $holder == None ]] || place="on $holder ($carrier)"
}

# Put the address on this node's interface if it is free; nonzero, and its place, while it is elsewhere.
associate() {
    local said
    look
    [[ $carrier == "$interface" ]] && return
    [[ $carrier == None ]] || return
    associated=yes
    # Without --no-allow-reassociation EC2 takes the address from whoever has got it meanwhile.
    said=$(ec2 associate-address --allocation-id "$allocation_id" --network-interface-id "$interface" \
        --no-allow-reassociation --query AssociationId --output text) && return
    # The first is also the answer to the AWS CLI's own retry after a lost response: the next look will show it.
    [[ $said == *"(Resource.AlreadyAssociated)"* ]] || fail $FAILED "associating $allocation_id with $interface: $said"
    place="on something that was faster"
    return 1
}

ec2() {
    aws ec2 "$@" --region "$region" 2>&1
}

address_failed() {
    case $1 in
        *"(InvalidAllocationID.NotFound)"*) fail $WRONG "$parameters: there is no $allocation_id in $region" ;;
        *) fail $FAILED "looking for $allocation_id: $1" ;;
    esac
}

# lease PROGRAM ...
lease() {
    local more=()
    [[ -n $associated ]] && more=(--associated)
    "$python" -I -S "$work/programs.pyz" lease "$@" --state "$work/lease.json" --poll "$poll_seconds" \
        --lock-store "$lock_store" --environment "$environment" --region "$region" \
        --allocation-id "$allocation_id" --cluster-id "$cluster" ${more[@]+"${more[@]}"}
}

lease_failed() {
    (($1 == BUSY)) || exit $FAILED
    place="leased to another"
    busy
}

busy() {
    if [[ $when_busy == continue ]]; then
        say "WARNING: $allocation_id is not free after $wait ($place); this cluster goes on WITHOUT it"
        say "WARNING: this cluster goes on WITHOUT $allocation_id" >&2
        exit 0
    fi
    fail $FAILED "$allocation_id is not free after $wait ($place)"
}

leave() {
    local status=$?
    trap - EXIT INT TERM
    if [[ -n $leasing ]]; then
        lease undo || say "what is left in the lock ends by itself: see docs/bootstrap-action.md" >&2
    fi
    rm -rf "$work"
    exit "$status"
}

main "$@" 3<<'PROGRAMS'
@PROGRAMS@
PROGRAMS
