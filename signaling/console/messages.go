package console

import (
	"time"

	"tandem/internal/control"
	"tandem/signaling/b2bua"
	"tandem/signaling/trunk"
)

// Methods of sip.sock.
const (
	MethodHello   = "sip.hello"
	MethodTrunks  = "trunk.list"
	MethodCalls   = "call.list"
	MethodCall    = "call.get"
	MethodHangUp  = "call.hangup"
	MethodExplain = "route.explain"
	MethodReload  = "config.reload"
	MethodDrain   = "sip.drain"
)

// CodeConfig is the answer to a reload of a configuration that cannot be taken up; the message says why, one fault a line.
const CodeConfig = 8

// Method is one line of help.
type Method struct {
	Name, Params, Does string
}

// Methods lists what the console answers, for people.
func Methods() []Method {
	return []Method{
		{MethodHello, "", "who answers: node, version, configuration, draining"},
		{MethodTrunks, `{"match":"gw"}`, "trunks: state, calls, caps, failures, quality"},
		{MethodCalls, `{"trunk":"gw1"}`, "calls that are not over, page by page"},
		{MethodCall, `{"id":"..."}`, "one call, with its media"},
		{MethodHangUp, `{"id":"..."}`, "end a call on both sides"},
		{MethodExplain, `{"trunk":"uc1","to":"+431"}`, "where a call would go, and why"},
		{MethodReload, `{"check":true}`, "read the configuration again; check: only say what would change"},
		{MethodDrain, `{"on":true}`, "take no new calls, or take them again"},
	}
}

func names() []string {
	var all []string
	for _, m := range Methods() {
		all = append(all, m.Name)
	}
	return all
}

// Hello asks who answers.
type Hello struct {
	Client string `json:"client,omitempty"` // for the log
}

// HelloResult describes the node.
type HelloResult struct {
	Protocol     int           `json:"protocol"`
	Node         string        `json:"node"`
	Version      string        `json:"version"`
	Boot         string        `json:"boot"` // changes with every start
	UptimeMS     int64         `json:"uptime_ms"`
	Config       File          `json:"config"`
	Draining     bool          `json:"draining"`
	Calls        int           `json:"calls"` // not over
	Ended        uint64        `json:"ended"` // since the start
	Trunks       int           `json:"trunks"`
	Relay        bool          `json:"relay"` // the media plane is connected
	Certificates []Certificate `json:"certificates,omitempty"`
}

// File is the configuration in force.
type File struct {
	Path    string    `json:"path"`
	SHA256  string    `json:"sha256"` // of its text, hex
	Loaded  time.Time `json:"loaded"`
	Reloads int       `json:"reloads"` // since the start, that were taken up
	Restart []string  `json:"restart"` // what it says and only a restart takes up
}

// Certificate is a file of certificates in use: ours, or authorities that we trust.
type Certificate struct {
	File    string    `json:"file"`
	Subject string    `json:"subject"` // of the certificate in it that ends first
	Expires time.Time `json:"expires"`
}

// Trunk is one trunk as it is now.
type Trunk struct {
	trunk.Status
	Looked  time.Time `json:"looked"`            // by the node's clock, as all times here
	Full    string    `json:"full,omitempty"`    // the cap that would turn the next call away
	Quality *Quality  `json:"quality,omitempty"` // of recent calls; absent: none had media
	Expires time.Time `json:"certificate_expires,omitzero"`
}

// TrunkList is one page of trunks. Next is empty on the last one.
type TrunkList struct {
	Trunks []Trunk `json:"trunks"`
	Found  int     `json:"found"` // of those asked for, over all pages
	Total  int     `json:"total"`
	Next   string  `json:"next,omitempty"`
}

// List asks for a page of trunks or of calls.
type List struct {
	After string `json:"after,omitempty"` // the Next of the page before
	Limit int    `json:"limit,omitempty"` // default and at most control.MaxPage
	Trunk string `json:"trunk,omitempty"` // only this one, or its calls
	Match string `json:"match,omitempty"` // only those with this text in a name, an id or a number
}

// CallList is one page of calls. Next is empty on the last one.
type CallList struct {
	Calls []b2bua.CallInfo `json:"calls"`
	Found int              `json:"found"` // of those asked for, over all pages
	Total int              `json:"total"`
	Next  string           `json:"next,omitempty"`
}

// Ref names a call.
type Ref struct {
	ID string `json:"id"`
}

// CallState is one call with its media, or why there is none.
type CallState struct {
	Call    b2bua.CallInfo        `json:"call"`
	Media   *control.SessionState `json:"media,omitempty"`
	NoMedia string                `json:"no_media,omitempty"`
}

// Explain is route.Question with everything but the dialled number left to choice. The answer is a route.Explanation.
type Explain struct {
	From  string `json:"from,omitempty"`
	To    string `json:"to"`
	Trunk string `json:"trunk,omitempty"`

	Down    []string `json:"down,omitempty"`
	Demoted []string `json:"demoted,omitempty"`
	Resting []string `json:"resting,omitempty"`
	Full    []string `json:"full,omitempty"`
}

// Reload asks for the file to be read again. Check only tells what would change.
type Reload struct {
	Check bool `json:"check,omitempty"`
}

// Reloaded is what came of it: one line a change, never a secret.
type Reloaded struct {
	Applied bool     `json:"applied"`
	SHA256  string   `json:"sha256"`
	Changes []string `json:"changes"` // in force, or with check: would be
	Restart []string `json:"restart"` // changes that wait for a restart
	Notes   []string `json:"notes"`   // what is valid in the file but surely not meant
}

// DrainResult tells how many calls are left.
type DrainResult struct {
	Draining bool `json:"draining"`
	Calls    int  `json:"calls"`
}
