/*
 * Measures libsrtp: nanoseconds of srtp_protect and srtp_unprotect of one packet with 160 bytes of payload.
 *
 *   libsrtp RUNS MICROSECONDS      prints one line a figure: SUITE OP NANOSECONDS, and first: VERSION text
 *
 * A packet is protected in place with a new sequence number each time. Packets to unprotect are protected beforehand, a buffer
 * of them, by a session of the same key; the receiving session is a new one for each buffer, made outside the time taken,
 * because libsrtp remembers what it has received.
 */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADER 12
#define PAYLOAD 160
#define SLOT 256
#define SLOTS 2048

struct suite {
	const char *name;
	void (*policy)(srtp_crypto_policy_t *);
};

static const struct suite suites[] = {
	{"AES_CM_128_HMAC_SHA1_80", srtp_crypto_policy_set_rtp_default},
	{"AES_CM_128_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32},
	{"AES_192_CM_HMAC_SHA1_80", srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80},
	{"AES_192_CM_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_192_hmac_sha1_32},
	{"AES_256_CM_HMAC_SHA1_80", srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80},
	{"AES_256_CM_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32},
	{"AEAD_AES_128_GCM", srtp_crypto_policy_set_aes_gcm_128_16_auth},
	{"AEAD_AES_256_GCM", srtp_crypto_policy_set_aes_gcm_256_16_auth},
};

static unsigned char key[SRTP_MAX_KEY_LEN];
static unsigned char slots[SLOTS][SLOT], copy[SLOTS][SLOT];
static int lengths[SLOTS];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int session(const struct suite *s, srtp_ssrc_type_t direction, srtp_t *out)
{
	srtp_policy_t p;
	memset(&p, 0, sizeof p);
	s->policy(&p.rtp);
	s->policy(&p.rtcp);
	p.ssrc.type = direction;
	p.key = key;
	p.window_size = 128;
	return srtp_create(out, &p);
}

/* fill makes SLOTS packets in the clear, of consecutive sequence numbers. */
static void fill(unsigned first)
{
	for (int i = 0; i < SLOTS; i++) {
		unsigned char *p = slots[i];
		memset(p, 0, SLOT);
		p[0] = 0x80;
		p[2] = (first + i) >> 8;
		p[3] = first + i;
		p[8] = 0xca, p[9] = 0xfe, p[10] = 0xba, p[11] = 0xbe;
		lengths[i] = HEADER + PAYLOAD;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* measure takes whole buffers until a run has lasted long enough; the median of the runs counts. */
static int measure(const struct suite *s, int open, int runs, double nanoseconds, double *median)
{
	double *results = calloc(runs, sizeof *results);
	srtp_t sender;
	unsigned seq = 0;
	if (!results || session(s, ssrc_any_outbound, &sender))
		return -1;
	for (int r = 0; r < runs; r++) {
		double spent = 0;
		long packets = 0;
		while (spent < nanoseconds) {
			srtp_t receiver = NULL;
			if (open && seq + SLOTS > 65536) { /* a new receiver cannot know how often numbers have wrapped */
				srtp_dealloc(sender);
				if (session(s, ssrc_any_outbound, &sender))
					return -1;
				seq = 0;
			}
			fill(seq);
			seq += SLOTS;
			double start = now();
			for (int i = 0; i < SLOTS; i++)
				if (srtp_protect(sender, slots[i], &lengths[i]))
					return -1;
			double end = now();
			if (open) {
				if (session(s, ssrc_any_inbound, &receiver))
					return -1;
				memcpy(copy, slots, sizeof copy);
				start = now();
				for (int i = 0; i < SLOTS; i++) {
					memcpy(slots[i], copy[i], lengths[i]);
					if (srtp_unprotect(receiver, slots[i], &lengths[i]))
						return -1;
				}
				end = now();
				srtp_dealloc(receiver);
			}
			spent += end - start;
			packets += SLOTS;
		}
		results[r] = spent / packets;
	}
	srtp_dealloc(sender);
	qsort(results, runs, sizeof *results, compare);
	*median = results[runs / 2];
	free(results);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3 || atoi(argv[1]) < 1 || srtp_init())
		return 1;
	for (unsigned i = 0; i < sizeof key; i++)
		key[i] = i * 7;
	printf("VERSION %s\n", srtp_get_version_string());
	for (unsigned i = 0; i < sizeof suites / sizeof *suites; i++)
		for (int open = 0; open < 2; open++) {
			double ns;
			if (measure(&suites[i], open, atoi(argv[1]), atof(argv[2]) * 1e3, &ns))
				printf("MISSING %s\n", suites[i].name);
			else
				printf("%s %s %.1f\n", suites[i].name, open ? "open" : "seal", ns);
		}
	return 0;
}
