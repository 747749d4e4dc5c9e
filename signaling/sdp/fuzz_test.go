package sdp

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// FuzzRead: whatever is read is read the same after writing, no key is printed, and what we write from it is one body with
// our address and nothing of the author's.
func FuzzRead(f *testing.F) {
	for _, c := range corpus {
		f.Add([]byte(c.body))
	}
	f.Add([]byte(leaky))
	f.Add([]byte(faxBody))
	const canary = "192.0.2.77" // no fuzzed body is refused for it, and none may pass it on
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := Read(in)
		if err != nil {
			if s != nil || !strings.HasPrefix(err.Error(), "sdp: ") {
				t.Fatalf("session %v with error %v", s, err)
			}
			return
		}
		if again, err := Read(s.Bytes()); err == nil && !Equal(s, again, false) {
			t.Fatalf("read again it differs:\n%q\n%q", s.Bytes(), again.Bytes())
		}
		for i, m := range s.Media() {
			for _, c := range m.Crypto {
				if len(c.Key) > 0 && strings.Contains(s.String(), base64.RawStdEncoding.EncodeToString(c.Key)) {
					t.Fatalf("a key is printed: %v", s)
				}
			}
			offer := Offer(s, i, ours(true))
			if bytes.Contains(offer, []byte(canary)) {
				t.Fatalf("the author's address leaks:\n%s", offer)
			}
			checkWritten(t, offer, 1)
			checkWritten(t, Answer(s, i, s, i, ours(false)), len(s.Media()))
			checkWritten(t, Update(s, i, ours(false), s, i), len(s.Media()))
			for _, fax := range []bool{false, true} {
				if place := s.Place(fax, i); !s.has(place) || s.Media()[place].Fax() != fax && place != i {
					t.Fatalf("m-line %d was chosen in place of %d", place, i)
				}
			}
		}
		if i, ok := s.Fax(); ok && (!s.Media()[i].Fax() || s.Media()[i].Rejected()) {
			t.Fatalf("m-line %d was taken for a fax", i)
		}
		for w := WantAny; w <= PreferSecure; w++ {
			if i, ok := s.Choose(w); ok && (s.Media()[i].Rejected() || len(s.Media()[i].Payloads) == 0) {
				t.Fatalf("m-line %d was chosen", i)
			}
		}
	})
}

// checkWritten fails unless b is a well-formed body of n m-lines, with each payload type and rtpmap once. A body at the
// bounds of reading may grow beyond them by our own lines.
func checkWritten(t *testing.T, b []byte, n int) {
	t.Helper()
	s, err := Read(b)
	if err != nil {
		if len(b) > MaxBytes || bytes.Count(b, []byte("\n")) > MaxLines {
			return
		}
		t.Fatalf("%v in our own\n%q", err, b)
	}
	if len(s.Media()) != n {
		t.Fatalf("%d m-lines, want %d:\n%s", len(s.Media()), n, b)
	}
	if !bytes.Equal(s.Bytes(), b) && !bytes.Contains(b, []byte("\t")) && !bytes.Contains(b, []byte("= ")) {
		t.Fatalf("not as we write:\n%q\n%q", b, s.Bytes())
	}
	for i, m := range s.Media() {
		maps := map[string]bool{}
		for _, l := range s.blocks[i] {
			name, value := l.attribute()
			pt, _, _ := strings.Cut(value, " ")
			if l.kind == 'a' && strings.EqualFold(name, "rtpmap") && maps[pt] {
				t.Fatalf("two rtpmaps for %s:\n%s", pt, b)
			} else if l.kind == 'a' && strings.EqualFold(name, "rtpmap") {
				maps[pt] = true
			}
		}
		if !m.Rejected() && !m.Fax() && len(m.Payloads) != len(m.Formats) {
			t.Fatalf("formats %v", m.Formats)
		}
	}
}

// FuzzCrypto: a line that can be used has the suite's key length and reads the same after writing; no line prints its key.
func FuzzCrypto(f *testing.F) {
	for _, seed := range []string{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|2^20|1:32",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcOtherKey + "|2^20|1:4 FEC_ORDER=FEC_SRTP",
		"2 AES_CM_128_HMAC_SHA1_32 inline:" + rfcKey + "|1048576 KDR=3 WSH=64 UNENCRYPTED_SRTCP",
		"3 AEAD_AES_256_GCM inline:" + inline(44, 1) + "|1:1;inline:" + inline(44, 2) + "|2:1 -x",
		"a=crypto:4 AES_256_CM_HMAC_SHA1_80 inline:" + inline(46, 3) + "||18446744073709551616:16 FEC_KEY=inline:" + rfcKey,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		c, err := ParseCrypto(in)
		if err != c.Err {
			t.Fatalf("%v returned, %v kept", err, c.Err)
		}
		if len(c.Key) > 0 {
			key := base64.RawStdEncoding.EncodeToString(c.Key)
			if printed := fmt.Sprintf("%v %+v %#v %d", c, &c, c, c); strings.Contains(printed, key) {
				t.Fatalf("a key is printed: %s", printed)
			}
			if strings.Contains(string(Redact([]byte(c.Line()))), key) {
				t.Fatalf("a key is left: %s", Redact([]byte(c.Line())))
			}
		}
		if err != nil {
			return
		}
		if n, ok := KeyLength(c.Suite); !ok || len(c.Key) != n || len(c.MKI) != c.MKILen {
			t.Fatalf("accepted with %d bytes of key, MKI %x of %d", len(c.Key), c.MKI, c.MKILen)
		}
		again, err := ParseCrypto(c.Line())
		if err != nil || !again.SameKey(c) || again.Tag != c.Tag || again.Lifetime != c.Lifetime || again.UnencryptedSRTCP != c.UnencryptedSRTCP {
			t.Fatalf("%v written and read is %v, %v", c, again, err)
		}
	})
}
