package srtp

import (
	"bytes"
	"crypto/aes"
	"testing"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

func TestKeystreamMatchesTheRFCs(t *testing.T) {
	for _, v := range []struct {
		source      string
		suite       Suite
		key         string
		first, last string // the first three blocks, and blocks 0xfeff to 0xff01
	}{
		{"RFC 3711 appendix B.2", AES128CM80, "2B7E151628AED2A6ABF7158809CF4F3C",
			"E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0",
			"EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44"},
		{"RFC 6188 section 7.1", AES256CM80, "57f82fe3613fd170a85ec93c40b1f092 2ec4cb0dc025b58272147cc438944a98",
			"92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
			"cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d 6eb246913062a16891433e97dd01a57f"},
		{"RFC 6188 section 7.3", AES192CM80, "eab234764e517b2d3d160d587d8c8621 9740f65f99b6bcf7",
			"35096cba4610028dc1b57503804ce37c 5de986291dcce161d5165ec4568f5c9a 474a40c77894bc17180202272a4c264d",
			"d108d1a31a00bad6367ec23eb044b415 c8f57129fdeb970b59f917b257662d4c a5dab625811034e8cebdfeb6dc158dd3"},
	} {
		t.Run(v.source, func(t *testing.T) {
			s := session{suite: v.suite}
			copy(s.key[:], unhex(v.key))
			copy(s.salt[:], unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"))
			for _, tier := range tiers() {
				var k Schedule
				k.expand(tier, &s, 0)
				stream := make([]byte, 0xff02*aes.BlockSize)
				k.crypt(NewScratch(tier), 0, 0, stream)
				if !bytes.Equal(stream[:48], unhex(v.first)) {
					t.Errorf("%s: first blocks are %x", tier, stream[:48])
				}
				if last := stream[len(stream)-48:]; !bytes.Equal(last, unhex(v.last)) {
					t.Errorf("%s: last blocks are %x", tier, last)
				}
			}
		})
	}
}

func TestKeyDerivationMatchesTheRFCs(t *testing.T) {
	for _, v := range []struct {
		source           string
		suite            Suite
		master, msalt    string
		key, salt, authn string
	}{
		{"RFC 3711 appendix B.3", AES128CM80, "E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6",
			"C61E7A93744F39EE10734AFE3FF7A087", "30CBBC08863D8C85D49DB34A9AE1", "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"},
		{"RFC 6188 section 7.2", AES256CM80, "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6",
			"3b04803de51ee7c96423ab5b78d2", "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4",
			"fa31791685ca444a9e07c6c64e93", "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"},
		{"RFC 6188 section 7.4", AES192CM80, "73edc66c4fa15776fb57f9505c171365 50ffda71f3e8e5f1",
			"c8522f3acd4ce86d5add78edbb11", "31874736a8f1143870c26e4857d8a5b2 c4a354407faadabb",
			"2372b82d639b6d8503a47adc0a6c", "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb"},
	} {
		t.Run(v.source, func(t *testing.T) {
			k, err := NewKeys(v.suite, append(unhex(v.master), unhex(v.msalt)...), nil, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, tier := range tiers() {
				var master kernel.RoundKeys
				kernel.Expand(tier, &master, k.key[:v.suite.KeyLen()])
				var s session
				s.derive(tier, &k, &master, labelRTP)
				if got := s.key[:v.suite.KeyLen()]; !bytes.Equal(got, unhex(v.key)) {
					t.Errorf("cipher key is %x", got)
				}
				if !bytes.Equal(s.salt[:], unhex(v.salt)) {
					t.Errorf("salt is %x", s.salt)
				}
				if !bytes.Equal(s.auth[:], unhex(v.authn)) {
					t.Errorf("authentication key is %x", s.auth)
				}
			}
		})
	}
}

// The packets of libsrtp's test/srtp_driver.c (srtp_validate and srtp_validate_aes_256), as also used by other
// implementations: derivation, keystream, tag and layout at once.
func TestPacketsMatchLibsrtp(t *testing.T) {
	const plain = "800f1234decafbadcafebabe abababababababababababababababab"
	for _, v := range []struct {
		suite        Suite
		keyAndSalt   string
		sealed       string
		rtcp, srtcp  string
		srtcpCounter uint32
	}{
		{suite: AES128CM80, keyAndSalt: "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6",
			sealed:       "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
			rtcp:         "81c8000bcafebabe abababababababababababababababab",
			srtcp:        "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
			srtcpCounter: 1},
		{suite: AES256CM80, keyAndSalt: "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
			sealed: "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b"},
	} {
		everyWay(t, v.suite.String(), func(t *testing.T, way way) {
			k, err := NewKeys(v.suite, unhex(v.keyAndSalt), nil, false)
			if err != nil {
				t.Fatal(err)
			}
			p := way.pair(k)
			pkt := clone(unhex(plain))
			n, verd := p.seal.SealRTP(&p.tx, pkt, headerRTP)
			if got := pkt[:n]; verd != verdict.Forward || !bytes.Equal(got, unhex(v.sealed)) {
				t.Errorf("sealed: %v %x", verd, got)
			}
			pkt = clone(unhex(v.sealed))
			n, _, verd = p.open.OpenRTP(&p.rx, pkt, headerRTP)
			if got := pkt[:n]; verd != verdict.Forward || !bytes.Equal(got, unhex(plain)) {
				t.Errorf("opened: %v %x", verd, got)
			}
			if v.rtcp == "" {
				return
			}
			p.tx.now.rtcp = v.srtcpCounter
			pkt = clone(unhex(v.rtcp))
			n, verd = p.seal.SealRTCP(&p.tx, pkt)
			if got := pkt[:n]; verd != verdict.Forward || !bytes.Equal(got, unhex(v.srtcp)) {
				t.Errorf("sealed RTCP: %v %x", verd, got)
			}
		})
	}
}

func TestAEADPacketsMatchRFC7714(t *testing.T) {
	const (
		salt = "5175696420 70726f2071756f"
		rtp  = `8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573`
		rtcp = `81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef`
	)
	for _, v := range []struct {
		suite                  Suite
		key, srtp, srtcp, auth string // sections 16 and 17; auth is SRTCP authenticated only
	}{
		{AES128GCM, "000102030405060708090a0b0c0d0e0f",
			`8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf
			 8833899d 7f27beb1 6a9152cf 765ee439 0cce`,
			`81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded
			 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4`,
			rtcp + `841dd968 3dd78ec9 2ae58790 125f62b3 000005d4`},
		{AES256GCM, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			`8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799
			 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13`,
			`81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047
			 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4`,
			rtcp + `91db4afb feee5a97 8fab4393 ed2615fe 000005d4`},
	} {
		everyWay(t, v.suite.String(), func(t *testing.T, way way) {
			s := session{suite: v.suite} // the RFC gives session keys
			copy(s.key[:], unhex(v.key))
			copy(s.salt[:], unhex(salt))
			c := way.party(&Keys{suite: v.suite})
			c.rtp.expand(way.tier, &s, 0)
			c.rtcp.expand(way.tier, &s, 0)
			var tx txState
			var rx rxState

			pkt := clone(unhex(rtp))
			n, verd := c.SealRTP(&tx, pkt, headerRTP)
			if verd != verdict.Forward || !bytes.Equal(pkt[:n], unhex(v.srtp)) {
				t.Errorf("sealed: %v %x", verd, pkt[:n])
			}
			n, _, verd = c.OpenRTP(&rx, pkt[:n], headerRTP)
			if verd != verdict.Forward || !bytes.Equal(pkt[:n], unhex(rtp)) {
				t.Errorf("opened: %v %x", verd, pkt[:n])
			}
			for _, form := range []struct {
				form uint8
				want string
			}{{0, v.srtcp}, {formClear, v.auth}} {
				c.rtcp.expand(way.tier, &s, form.form)
				tx, rx = sentOf(txSource{ssrc: 0x4d617273, rtcp: 0x5d4}), rxState{}
				pkt = clone(unhex(rtcp))
				n, verd = c.SealRTCP(&tx, pkt)
				if verd != verdict.Forward || !bytes.Equal(pkt[:n], unhex(form.want)) {
					t.Errorf("sealed RTCP, form %#x: %v %x", form.form, verd, pkt[:n])
				}
				n, verd = c.OpenRTCP(&rx, pkt[:n])
				if verd != verdict.Forward || !bytes.Equal(pkt[:n], unhex(rtcp)) {
					t.Errorf("opened RTCP, form %#x: %v %x", form.form, verd, pkt[:n])
				}
			}
		})
	}
}
