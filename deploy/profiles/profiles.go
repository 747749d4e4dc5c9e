// Package profiles holds the kinds of peers that are known here, as data: NAME.yaml has the keys of a trunk's policy that fit
// such a peer, and nothing else. They hold where neither the trunk, nor its site, nor the policy of all says anything; a
// directory of the operator's (sip.profiles) may add kinds and replace these.
//
// It prevents quirks of vendors from becoming branches of the code: what a peer needs is a key that any trunk may have.
// Reading and checking them is internal/config's affair.
package profiles

import "embed"

// Files are the profiles, by NAME.yaml.
//
//go:embed *.yaml
var Files embed.FS
