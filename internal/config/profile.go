package config

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"tandem/deploy/profiles"
)

// Bounds of profiles.
const (
	maxProfile  = 64 << 10 // bytes of one file: a policy with some hundred rules
	maxProfiles = 256      // names of a directory that a suggestion looks at
	profileFile = ".yaml"
)

// profile is what a kind of peer needs: a policy in a file of its own. Its keys stand in the document of the config below
// profilePath, with the lines of their file, so that everything that asks where a value comes from finds them.
type profile struct {
	doc    *document // its own file
	policy Policy
}

// profilePath is where the keys of a profile stand. No key of a config file has such a path.
func profilePath(name string) string { return "profiles." + name }

// profile is the policy of a profile; of one that is not there, nothing.
func (d *document) profile(name string) Policy {
	if p := d.profiles[name]; p != nil {
		return p.policy
	}
	return Policy{}
}

// pickProfile settles which profile a trunk has, and reads it if it is the first that has it.
func (c *Config) pickProfile(d *document, name string, t *Trunk) {
	site := c.Sites[t.Site]
	switch {
	case d.has("trunks." + name + ".profile"):
	case t.Site != "" && d.has("sites."+t.Site+".policy.profile"):
		t.Profile = site.Policy.Profile
	case d.has("policy.profile"):
		t.Profile = c.Policy.Profile
	default:
		t.Profile = ProfileGeneric
	}
	c.readProfile(d, t.Profile)
}

// readProfile reads a profile once. One that does not exist is none; checkProfile says so where it is named.
func (c *Config) readProfile(d *document, name string) {
	if _, done := d.profiles[name]; done || !isName(name) {
		return
	}
	d.profiles[name] = nil
	file, text, err := c.openProfile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	p := &profile{doc: newDocument(file)}
	d.profiles[name] = p
	if err != nil {
		p.doc.syntax(1, 1, "cannot be read: "+err.Error()+"; correct sip.profiles, or the rights of the file")
		return
	}
	root, ok := p.doc.read(text)
	if !ok || root == nil {
		return
	}
	path := profilePath(name)
	p.doc.decode(path, root, reflect.ValueOf(&p.policy).Elem())
	p.policy.fill(p.doc, path)
	maps.Copy(d.at, p.doc.at)
}

// openProfile finds the text of a profile: in the operator's directory, else among those built in.
func (c *Config) openProfile(name string) (file string, text []byte, err error) {
	if filepath.IsAbs(c.SIP.Profiles) {
		file = filepath.Join(c.SIP.Profiles, name+profileFile)
		f, err := os.Open(file)
		if err == nil {
			defer f.Close()
			text, err = io.ReadAll(io.LimitReader(f, maxProfile+1))
			if err == nil && len(text) > maxProfile {
				err = errors.New("it is larger than a profile can be")
			}
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, text, err
		}
	}
	text, err = profiles.Files.ReadFile(name + profileFile)
	return "profile " + name, text, err
}

// profileNames lists the profiles that there are.
func (c *Config) profileNames() []string {
	names := make(map[string]bool)
	list := func(all []fs.DirEntry, err error) {
		for _, e := range all[:min(len(all), maxProfiles)] {
			if name, ok := strings.CutSuffix(e.Name(), profileFile); ok && isName(name) && err == nil {
				names[name] = true
			}
		}
	}
	list(profiles.Files.ReadDir("."))
	if filepath.IsAbs(c.SIP.Profiles) {
		list(os.ReadDir(c.SIP.Profiles))
	}
	return slices.Sorted(maps.Keys(names))
}

// checkProfile wants a profile that exists where a scope names one.
func (c *Config) checkProfile(d *document, path, name string) {
	if !d.has(path) {
		return
	}
	if strings.HasPrefix(path, profilePath("")) {
		d.fail(path, "a profile is not made of another", "write the keys that it needs")
		return
	}
	if c.readProfile(d, name); d.profiles[name] == nil {
		d.unknown(path, name, "profile", "sip.profiles", c.profileNames())
	}
}

// checkProfiles checks what the profiles say, and takes their errors over.
func (c *Config) checkProfiles(d *document) {
	for _, name := range slices.Sorted(maps.Keys(d.profiles)) {
		p := d.profiles[name]
		if p == nil {
			continue
		}
		c.checkPolicy(p.doc, profilePath(name), &p.policy)
		d.errs = append(d.errs, p.doc.errs...)
		d.warnings = append(d.warnings, p.doc.warnings...)
	}
}
