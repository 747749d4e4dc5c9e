package peers

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

const rate = 8000 // samples a second, of PCMU

// tone is a sine wave as 16-bit samples, at a quarter of full scale.
func tone(hz, samples int) []int16 {
	list := make([]int16, samples)
	for i := range list {
		list[i] = int16(math.MaxInt16 / 4 * math.Sin(2*math.Pi*float64(hz)*float64(i)/rate))
	}
	return list
}

// purity is the share of a sound's energy that is one tone (by Goertzel's filter): 1 is nothing else, 0 silence or others.
func purity(samples []int16, hz int) float64 {
	var energy, s1, s2 float64
	k := 2 * math.Cos(2*math.Pi*float64(hz)/rate)
	for _, x := range samples {
		energy += float64(x) * float64(x)
		s1, s2 = float64(x)+k*s1-s2, s1
	}
	if energy == 0 {
		return 0
	}
	return 2 * (s1*s1 + s2*s2 - k*s1*s2) / (energy * float64(len(samples)))
}

// linear decodes PCMU (ITU-T G.711 table 2b, times 4).
func linear(pcmu []byte) []int16 {
	list := make([]int16, len(pcmu))
	for i, b := range pcmu {
		b = ^b
		v := (int16(b&15)<<3+132)<<(b>>4&7) - 132
		if b&0x80 != 0 {
			v = -v
		}
		list[i] = v
	}
	return list
}

// companded encodes PCMU: the code whose value is next to each sample.
func companded(samples []int16) []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	values := linear(all)
	list := make([]byte, len(samples))
	for i, x := range samples {
		for code := range values {
			if math.Abs(float64(values[code])-float64(x)) < math.Abs(float64(values[list[i]])-float64(x)) {
				list[i] = byte(code)
			}
		}
	}
	return list
}

// wav is a sound file: one channel of 16-bit samples.
func wav(samples []int16) []byte {
	var b bytes.Buffer
	little := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a bytes.Buffer takes everything
	b.WriteString("RIFF")
	little(uint32(36 + 2*len(samples)))
	b.WriteString("WAVEfmt ")
	little([]uint32{16, 1<<16 | 1, rate, 2 * rate, 16<<16 | 2}) // size; PCM, one channel; rate; bytes a second; frame, bits
	b.WriteString("data")
	little(uint32(2 * len(samples)))
	little(samples)
	return b.Bytes()
}

// readWav returns the samples of such a file.
func readWav(file []byte) ([]int16, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, fmt.Errorf("no WAV file: % x", file[:min(12, len(file))])
	}
	for at := 12; at+8 <= len(file); {
		size := int(binary.LittleEndian.Uint32(file[at+4:]))
		body := file[at+8 : min(len(file), at+8+size)]
		if string(file[at:at+4]) == "data" {
			list := make([]int16, len(body)/2)
			for i := range list {
				list[i] = int16(binary.LittleEndian.Uint16(body[2*i:]))
			}
			return list, nil
		}
		at += 8 + size + size%2
	}
	return nil, fmt.Errorf("a WAV file without data, %d bytes", len(file))
}
