package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// Bounds of a registration: shorter loads the provider's registrar, longer is forgotten by NATs and by ourselves.
const (
	minExpires = time.Minute
	maxExpires = 24 * time.Hour
)

var (
	// quotable is text that stands in a quoted string without escapes (RFC 7616 section 3.4).
	quotable = regexp.MustCompile(`^[ !#-\[\]-~]{1,128}$`)
	// digestUser is a user of digest: no colon either, as it ends there in what is hashed (RFC 7616 section 3.4.2).
	digestUser = regexp.MustCompile(`^[!#-9;-\[\]-~]{1,64}$`)
	// uriUser is the user part of a SIP URI without escapes (RFC 3261 section 25.1).
	uriUser = regexp.MustCompile(`^[0-9A-Za-z_.!~*'()&=+$,;?/-]{1,64}$`)
)

// checkAuth checks who a trunk is to its peer, and whom it asks.
func (c *Config) checkAuth(d *document, path string, t *Trunk) {
	if a := t.Auth; a != nil {
		a.check(d, path+".auth")
	}
	if ch := t.Challenge; ch != nil {
		ch.check(d, path+".challenge")
	}
	if r := t.Register; r != nil {
		path += ".register"
		switch {
		case r.User == "":
			d.fail(path+".user", "is missing", "write the user part of the address that the provider gave, or auth with a user")
		case !uriUser.MatchString(r.User):
			d.fail(path+".user", "is no user part of a SIP address ("+show(r.User)+")", "write what stands before the @ of the address that the provider gave")
		}
		if d.has(path+".domain") && !isHost(r.Domain) {
			d.fail(path+".domain", "is no host", "write what stands behind the @ of the address that the provider gave")
		}
		d.within(path+".expires", r.Expires, minExpires, maxExpires)
	}
}

func (a *Auth) check(d *document, path string) {
	if a.User == "" {
		d.fail(path+".user", "is missing", "write the user name that the peer gave")
	} else {
		d.match(path+".user", a.User, digestUser, "use 1 to 64 printable ASCII characters other than space, colon, quote and backslash")
	}
	switch password, file := d.has(path+".password"), d.has(path+".password_file"); {
	case password && file:
		d.fail(path+".password", fmt.Sprintf("there is password_file too (line %d)", d.line(path+".password_file")), "keep one of the two")
	case !password && !file:
		d.fail(path, "has no password", "write password_file, or password")
	case password:
		d.password(path+".password", a.Password)
	case a.File == "":
		d.fail(path+".password_file", "is empty", "name a file whose first line is the password")
	}
	if d.has(path+".realm") && a.Realm != "" {
		d.match(path+".realm", a.Realm, quotable, "use 1 to 128 printable ASCII characters other than quote and backslash")
	}
}

func (ch *Challenge) check(d *document, path string) {
	if ch.Realm == "" {
		d.fail(path+".realm", "is missing", "write a realm, such as our domain; its default is sip.fqdn, which is missing too")
	} else if d.has(path + ".realm") {
		d.match(path+".realm", ch.Realm, quotable, "use 1 to 128 printable ASCII characters other than quote and backslash")
	}
	if len(ch.Users) == 0 {
		d.fail(path+".users", "names nobody", "write at least one name: password, or remove the section")
	}
	for _, user := range slices.Sorted(maps.Keys(ch.Users)) {
		at := path + ".users." + pathKey(user)
		if !digestUser.MatchString(user) {
			d.fail(at, "is no user name", "use 1 to 64 printable ASCII characters other than space, colon, quote and backslash")
			continue
		}
		d.password(at, ch.Users[user])
	}
}

// password wants a secret, and not what Describe wrote in its place.
func (d *document) password(path string, s Secret) {
	switch s {
	case "":
		d.fail(path, "is empty", "write the password in quotes")
	case hidden:
		d.fail(path, "stands in place of a password that was not shown", "write the password itself")
	}
}
