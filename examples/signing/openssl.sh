#!/usr/bin/env bash
# Signs checkpoints with Ed25519 keys in PEM files, by OpenSSL 3: a signing command to begin one of your own with. It
# could as well ask an HSM (`openssl pkeyutl -provider pkcs11 …`) or another host (`ssh signer …`).
#
#   openssl genpkey -algorithm ed25519 -out signer.pem
#   LEDGER_SIGNING_COMMAND="examples/signing/openssl.sh signer.pem" ledger run
#
# Several files may be named, the newest first; all of them sign. What a signing command is asked, and what it prints:
#
#   … keys ORIGIN    the verifier keys, a line each
#   … sign ORIGIN    lines of signatures over standard input
#
# in the form of signed notes (https://c2sp.org/signed-note).
set -euo pipefail

what=${*: -2:1} origin=${*: -1:1}
pems=("${@:1:$#-2}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The 32 octets of a public key, which are the last ones of its DER.
public() { openssl pkey -in "$1" -pubout -outform DER | tail -c 32; }

# The first four octets of the hash of name, newline, 1 (Ed25519) and public key.
key_id() { { printf '%s\n\001' "$origin"; public "$1"; } | openssl dgst -sha256 -binary | head -c 4; }

case $what in
keys)
    for pem in "${pems[@]}"; do
        key=$({ printf '\001'; public "$pem"; } | openssl base64 -A)
        printf '%s+%s+%s\n' "$origin" "$(key_id "$pem" | od -An -tx1 | tr -d ' \n')" "$key"
    done
    ;;
sign)
    cat > "$work/text"
    for pem in "${pems[@]}"; do
        openssl pkeyutl -sign -rawin -in "$work/text" -inkey "$pem" -out "$work/signature"
        printf '— %s %s\n' "$origin" "$({ key_id "$pem"; cat "$work/signature"; } | openssl base64 -A)"
    done
    ;;
*)
    echo "$0: not \`keys\` or \`sign\`, but $what" >&2
    exit 2
    ;;
esac
