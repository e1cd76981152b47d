#!/bin/bash
# certificates.sh DIR: the chains and revocation lists of test_x509.c, by openssl.
set -euo pipefail
rm -rf "$1" && mkdir -p "$1" && cd "$1"
ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'

key() { # NAME KIND
	case $2 in
	rsa*) openssl genrsa -out "$1.key" "${2#rsa}" ;;
	ed25519) openssl genpkey -algorithm ed25519 -out "$1.key" ;;
	*) openssl ecparam -name "$2" -genkey -noout -out "$1.key" ;;
	esac
}
serial=0
issue() { # NAME KIND ISSUER EXTENSIONS [OPTION]: the issuer "self" signs itself
	local name=$1 sign=(-CA "$3.crt" -CAkey "$3.key")
	[ "$3" != self ] || sign=(-signkey "$name.key")
	serial=$((serial + 1))
	key "$name" "$2"
	openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
	# shellcheck disable=SC2059  # newlines
	printf "$4" >"$name.ext"
	openssl x509 -req -in "$name.csr" "${sign[@]}" -set_serial $serial -days 30 -extfile "$name.ext" \
	    "${5:--sha256}" -out "$name.crt"
	openssl x509 -in "$name.crt" -outform DER -out "$name.der"
}
list() { # NAME ISSUER REVOKED-SERIAL|- [OPTION...]
	local name=$1 issuer=$2
	: >index
	[ "$3" = - ] || printf 'R\t401231235959Z\t261101000000Z\t%02X\tunknown\t/CN=x\n' "$3" >index
	shift 3
	printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=30\ncrlnumber=number\n' >conf
	echo 01 >number
	openssl ca -config conf -gencrl -keyfile "$issuer.key" -cert "$issuer.crt" -out "$name.crl" "$@"
}

make() {
	issue root prime256v1 self "$ca"
	issue root-rsa rsa2048 self "$ca"
	issue sub prime256v1 root "$ca"
	issue good prime256v1 root 'keyUsage=digitalSignature\n'
	issue plain prime256v1 root 'subjectKeyIdentifier=hash\n'
	issue ed ed25519 root 'keyUsage=digitalSignature\n'
	issue below prime256v1 sub 'keyUsage=digitalSignature\n'
	issue by-rsa prime256v1 root-rsa 'keyUsage=digitalSignature\n'
	# Weak.
	issue md5 prime256v1 root-rsa 'keyUsage=digitalSignature\n' -md5
	issue sha1 prime256v1 root-rsa 'keyUsage=digitalSignature\n' -sha1
	for kind in rsa512 rsa1024 prime192v1; do
		issue root-$kind $kind self "$ca"
		issue by-$kind prime256v1 root-$kind 'keyUsage=digitalSignature\n'
		issue sub-$kind $kind root "$ca"
		issue below-$kind prime256v1 sub-$kind 'keyUsage=digitalSignature\n'
	done
	issue sub-sha1 prime256v1 root-rsa "$ca" -sha1
	issue below-sha1 prime256v1 sub-sha1 'keyUsage=digitalSignature\n'
	issue leaf-rsa rsa2048 root 'keyUsage=digitalSignature\n'
	issue leaf-p384 secp384r1 root 'keyUsage=digitalSignature\n'
	# No CA, or not of this depth.
	issue nobc prime256v1 root 'keyUsage=keyCertSign\n'
	issue below-nobc prime256v1 nobc 'keyUsage=digitalSignature\n'
	issue nosign prime256v1 root 'basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature\n'
	issue below-nosign prime256v1 nosign 'keyUsage=digitalSignature\n'
	issue short prime256v1 self 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign\n'
	issue sub-short prime256v1 short "$ca"
	issue below-short prime256v1 sub-short 'keyUsage=digitalSignature\n'
	issue by-short prime256v1 short 'keyUsage=digitalSignature\n'
	issue names prime256v1 root "${ca}nameConstraints=critical,permitted;DNS:example.com\n"
	issue below-names prime256v1 names 'subjectAltName=DNS:example.org\n'
	# The leaf.
	issue leaf-ca prime256v1 root "$ca"
	issue leaf-agrees prime256v1 root 'keyUsage=keyAgreement\n'
	issue critical prime256v1 root '1.2.3.4=critical,DER:0500\n'
	issue server prime256v1 root 'extendedKeyUsage=serverAuth\n'
	issue client prime256v1 root 'extendedKeyUsage=serverAuth,clientAuth\n'
	issue any prime256v1 root 'extendedKeyUsage=anyExtendedKeyUsage\n'
	issue own prime256v1 root 'extendedKeyUsage=1.3.6.1.4.1.99999.1\n'
	issue sub-server prime256v1 root "${ca}extendedKeyUsage=serverAuth\n"
	issue below-server prime256v1 sub-server 'keyUsage=digitalSignature\n'
	# Revocation lists.
	list root-none root -
	list sub-none sub -
	list root-sub root "$(openssl x509 -in sub.crt -noout -serial | sed 's/.*=//;s/^/16#/' | { read -r n; echo $((n)); })"
	list sub-below sub "$(openssl x509 -in below.crt -noout -serial | sed 's/.*=//;s/^/16#/' | { read -r n; echo $((n)); })"
	list root-old root - -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z
	list rsa-sha1 root-rsa - -md sha1
	list rsa-none root-rsa -
}
make >log 2>&1 || { cat log >&2; exit 1; }
