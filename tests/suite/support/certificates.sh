#!/bin/sh
# Every kind of certificate and revocation list that a tunnel meets, made by OpenSSL 3 in the folder $1.
# NAME.pem with NAME.key; lists are crl-NAME.pem; folders as c_rehash makes them, and as it does not.
set -eu
cd "$1"

key() {
    [ -f "$1.key" ] || openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}

# root NAME: a CA as `openssl req -x509` makes it
root() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=root $1" -days 3650 -out "$1.pem"
}

# issuer NAME: what `openssl ca` keeps of it
issuer() {
    mkdir -p "db-$1"
    : >"db-$1/index.txt"
    echo 'unique_subject = no' >"db-$1/index.txt.attr"
    echo 1000 >"db-$1/serial"
    echo 01 >"db-$1/crlnumber"
    for version in 1 2; do
        {
            printf '[ca]\ndefault_ca = d\n[d]\ndatabase = db-%s/index.txt\nserial = db-%s/serial\n' "$1" "$1"
            printf 'new_certs_dir = db-%s\ndefault_md = sha256\npolicy = p\ndefault_crl_days = 30\n' "$1"
            [ $version = 1 ] || printf 'crlnumber = db-%s/crlnumber\n' "$1"
            printf '[p]\ncommonName = optional\nemailAddress = optional\n'
        } >"ca$version-$1.cnf"
    done
}

# leaf NAME ISSUER SUBJECT KEY FROM UNTIL EXTENSIONS
leaf() {
    key "$4"
    printf '[e]\n%b' "$7" >"$1.ext"
    openssl req -new -key "$4.key" -subj "$3" -out "$1.csr"
    openssl ca -batch -preserveDN -notext -config "ca2-$2.cnf" -cert "$2.pem" -keyfile "$2.key" -in "$1.csr" \
        -out "$1.pem" -startdate "$5" -enddate "$6" -extfile "$1.ext" -extensions e
    [ "$4" = "$1" ] || cp "$4.key" "$1.key"
}

now=20240101000000Z
then=20400101000000Z
san='subjectAltName = DNS:localhost, DNS:*.wild.test, IP:127.0.0.1, email:Bob@example.test\n'
plain="${san}basicConstraints = CA:FALSE\n"
sub='basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign, cRLSign\n'

for name in ca other; do root $name; issuer $name; done
leaf good ca /CN=localhost good $now $then "$plain"
leaf cnonly ca /CN=localhost cnonly $now $then 'basicConstraints = CA:FALSE\n'
leaf expired ca /CN=localhost expired 20200101000000Z 20210101000000Z "$plain"
leaf future ca /CN=localhost future 20900101000000Z 20910101000000Z "$plain"
leaf catrue ca /CN=localhost catrue $now $then "${san}basicConstraints = CA:TRUE\n"
leaf clientonly ca /CN=localhost clientonly $now $then "${plain}extendedKeyUsage = clientAuth\n"
leaf serveronly ca /CN=localhost serveronly $now $then "${plain}extendedKeyUsage = serverAuth\n"
leaf signonly ca /CN=localhost signonly $now $then "${plain}keyUsage = keyCertSign\n"
leaf revoked ca /CN=localhost revoked $now $then "$plain"
leaf stranger other /CN=localhost stranger $now $then "$plain"
# the key of `good` in other certificates
leaf renewed other /CN=localhost good $now $then "$plain"
leaf uppercase ca /CN=LOCALHOST good $now $then "$plain"
leaf elsewhere ca /CN=elsewhere good $now $then "$plain"
leaf otherkey ca /CN=localhost otherkey $now $then "$plain"
# below an intermediate, and below one that may not sign
leaf inter ca /CN=inter inter $now $then "$sub"
leaf weak ca /CN=weak weak $now $then 'basicConstraints = critical, CA:TRUE\nkeyUsage = digitalSignature\n'
issuer inter
issuer weak
leaf deep inter /CN=localhost deep $now $then "$plain"
leaf below weak /CN=localhost below $now $then "$plain"
cat deep.pem inter.pem >deepchain.pem && cp deep.key deepchain.key
cat below.pem weak.pem >belowchain.pem && cp below.key belowchain.key
cat inter.pem ca.pem >bundle.pem
# a CA whose own time is over
key old
openssl req -new -key old.key -subj '/CN=root old' -out old.csr
issuer old
printf '[e]\nbasicConstraints = critical, CA:TRUE\n' >old.ext
openssl ca -batch -selfsign -notext -config ca2-old.cnf -keyfile old.key -in old.csr -out old.pem \
    -startdate 20100101000000Z -enddate 20200101000000Z -extfile old.ext -extensions e
leaf ofold old /CN=localhost ofold $now $then "$plain"
# version 1, signed by a CA and by itself; self-signed as `openssl req -x509` makes it, and made anew with its key
for name in v1 v1self; do
    key $name
    openssl req -new -key $name.key -subj /CN=localhost -out $name.csr
done
openssl x509 -req -in v1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3000 -out v1.pem
openssl x509 -req -in v1self.csr -signkey v1self.key -days 3000 -out v1self.pem
key self
openssl req -x509 -new -key self.key -subj /CN=localhost -days 3000 -out self.pem
openssl req -x509 -new -key self.key -subj /CN=localhost -days 2000 -out selfrenewed.pem
cp self.key selfrenewed.key

# list NAME ISSUER VERSION …
list() {
    name=$1 by=$2 version=$3
    shift 3
    openssl ca -config "ca$version-$by.cnf" -cert "$by.pem" -keyfile "$by.key" -gencrl -out "crl-$name.pem" "$@"
}
openssl ca -config ca2-ca.cnf -cert ca.pem -keyfile ca.key -revoke revoked.pem
list good ca 2
list v1 ca 1
list old ca 2 -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z
list future ca 2 -crl_lastupdate 20900101000000Z -crl_nextupdate 20910101000000Z
list other other 2
list inter inter 2
cat crl-old.pem crl-good.pem >crl-both.pem
openssl crl -in crl-good.pem -outform der -out crl-good.der

mkdir -p hashed oldhash plain empty crls both peers
cp ca.pem hashed/ && openssl rehash hashed
cp ca.pem "oldhash/$(openssl x509 -subject_hash_old -noout -in ca.pem).0"
cp ca.pem plain/
cp crl-good.pem crls/ && openssl rehash crls
cp ca.pem crl-good.pem both/ && openssl rehash both
cp good.pem peers/ && openssl rehash peers
cat good.pem good.key >server.pem
