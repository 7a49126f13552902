/*
 * qemu-blobstore: the table of its commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "tool.h"

#define READS  (OPT_IMAGE | OPT_SHARE | OPT_KEY | OPT_OUTPUT)
#define WRITES (OPT_IMAGE | OPT_KEY | OPT_TAKE_OVER)
#define READS_TO_COPY \
    (OPT_IMAGE | OPT_SHARE | OPT_KEY | OPT_NEW_KEY | OPT_COPY)

const ToolCommand tool_commands[] = {
    {
        "create", "IMAGE", 1, 1,
        OPT_IMAGE | OPT_NEW_KEY | OPT_CREATE, tool_create,
        "make a store in a blank or new image",
        "Makes an empty store in an image that is blank, and prints its UUID. "
        "A file that does not exist is made first, as by qemu-img create; "
        "its size follows from --tpm or --required. An image that holds "
        "anything is refused. With a new key the store is encrypted.",
        "create -f qcow2 --tpm nvram.qcow2\n"
        "create --object secret,id=sec1,file=nvram.key "
        "--new-key-secret=sec1 --required=4M nvram.raw\n"
    }, {
        "info", "IMAGE", 1, 1, READS, tool_info,
        "show the store and its blobs",
        "Shows identity, size, sequence and encryption of the store, and its "
        "blobs. Volatile blobs are never on the medium, so no command shows "
        "them.",
        "info -f qcow2 nvram.qcow2\n"
        "info --object secret,id=sec0,file=nvram.key --key-secret=sec0 "
        "nvram.raw\n"
    }, {
        "list", "IMAGE", 1, 1, READS, tool_list,
        "list the blobs",
        "Lists the blobs as OWNER/NAME with their kind, size, largest size "
        "and sequence.",
        "list -f qcow2 --output=json nvram.qcow2\n"
    }, {
        "check", "IMAGE...", 1, INT_MAX, READS | OPT_TAKE_OVER | OPT_REPAIR,
        tool_check,
        "read everything and report damage",
        "Reads everything that counts and names the damage, then says in one "
        "line what it thinks of the image. Without --repair it writes "
        "nothing. Of several images the worst one decides the exit status: 3 "
        "is the worst, then the first other failure, then 4.\n\n"
        "--repair writes damaged copies of superblock and directory again, as "
        "the next use of the store does. A damaged blob stays damaged, unless "
        "--fall-back names it: then the version before is current again, and "
        "the one that was acknowledged last is given up. The command says "
        "what is lost, and without --repair what could be. If there is no "
        "version before, --or-absent deletes the blob: its device begins with "
        "empty state, a TPM as a new one.",
        "check -f qcow2 nvram.qcow2\n"
        "check -q -f qcow2 /var/lib/vms/*.nvram\n"
        "check --repair --fall-back=tpm/permanent -f qcow2 nvram.qcow2\n"
    }, {
        "get", "IMAGE OWNER/NAME [FILE|-]", 2, 3,
        (READS | OPT_GET) & ~OPT_OUTPUT, tool_get,
        "read a blob",
        "Writes the content of the blob to FILE, or to standard output. What "
        "it writes is not encrypted.",
        "get -f qcow2 nvram.qcow2 tpm/permanent tpm.bin\n"
        "get -f qcow2 --show-metadata nvram.qcow2 tpm/permanent\n"
    }, {
        "put", "IMAGE OWNER/NAME [FILE|-]", 2, 3, WRITES | OPT_PUT, tool_put,
        "write a blob",
        "Replaces the content of the blob with that of FILE, or of standard "
        "input; a damaged blob is whole again. A blob that is not there yet "
        "is made. Content that fits neither the blob nor the image changes "
        "nothing.",
        "put -f qcow2 nvram.qcow2 tpm/permanent tpm.bin\n"
        "put -f qcow2 --max-size=64k --metadata version=1 nvram.qcow2 "
        "nic/config -\n"
    }, {
        "rm", "IMAGE OWNER/NAME", 2, 2, WRITES, tool_rm,
        "delete a blob",
        "Deletes the blob, damaged or not, and gives its space back. The "
        "device that it belongs to begins with empty state.",
        "rm -f qcow2 nvram.qcow2 nic/config\n"
    }, {
        "copy", "IMAGE TARGET", 2, 2, READS_TO_COPY, tool_copy,
        "copy the store into another image",
        "Makes TARGET the same store: the same uuid, blobs, sequences and, if "
        "it is encrypted, the same key slots. Only what counts is copied, and "
        "read before anything is written: a store with a damaged blob is "
        "refused. With a new key the target is encrypted with a new data key, "
        "which only the new key opens; with --unencrypted it is plain. TARGET "
        "is blank, or a file that does not exist and is made with the size of "
        "IMAGE. A copy that was cut short is no store: delete it, or blank "
        "it, and copy again.\n\n"
        "Never run VMs with both images: they are two states of one store.",
        "copy -f raw -O qcow2 nvram.raw nvram.qcow2\n"
        "copy --object secret,id=sec1,file=nvram.key --new-key-secret=sec1 "
        "nvram.raw sealed.raw\n"
    }, {
        "clone", "IMAGE TARGET", 2, 2, READS_TO_COPY | OPT_CLONE, tool_clone,
        "copy the store into another image, as another store",
        "Does what copy does, but gives the target a new uuid and no history, "
        "so that nothing takes one store for the other. An encrypted store "
        "needs a new key, or --unencrypted: key slots are good for one uuid "
        "only. The blobs are the same; a TPM in them has the same identity "
        "and secrets.",
        "clone --new-identity -f qcow2 -O qcow2 template.qcow2 vm1.qcow2\n"
    }, {
        "resize", "IMAGE [SIZE]", 1, 2, WRITES, tool_resize,
        "make the image and its store larger or smaller",
        "Gives the image SIZE bytes, and the store all of it; without SIZE "
        "the store takes the size that the image has. Less than the store "
        "needs is refused.",
        "resize -f qcow2 nvram.qcow2 8M\n"
        "resize /dev/vg0/nvram\n"
    }, {
        "size", "", 0, 0, OPT_SIZE | OPT_OUTPUT, tool_size,
        "say how large an image has to be",
        "Prints how many bytes an image needs for a store with these blobs. A "
        "TPM of either version needs the same.",
        "size --tpm\n"
        "size --tpm --blob=64k --blob=4k\n"
    }, {
        "map", "IMAGE", 1, 1, READS | OPT_PICTURE, tool_map,
        "show which bytes hold what",
        "Lists the regions of the image in their order, without a gap: where "
        "each begins, how long it is, how many bytes of it hold a version "
        "that counts, and whose it is. --output=svg is a picture of that, "
        "drawn to scale.",
        "map -f qcow2 nvram.qcow2\n"
        "map --output=svg -f qcow2 nvram.qcow2 > nvram.svg\n"
    }, {
        "key-list", "IMAGE", 1, 1, OPT_IMAGE | OPT_SHARE | OPT_OUTPUT,
        tool_key_list,
        "list the key slots, which needs no key",
        "Lists the key slots in use, of which each opens the store.",
        "key-list -f qcow2 nvram.qcow2\n"
    }, {
        "key-add", "IMAGE", 1, 1,
        WRITES | OPT_NEW_KEY | OPT_SLOT | OPT_REPLACE, tool_key_add,
        "let another key open the store",
        "Puts the new key into an unused key slot, or into the one that is "
        "named. With --replace it takes the place of another key.",
        "key-add --object secret,id=sec0,file=old.key --key-secret=sec0 "
        "--object secret,id=sec1,file=new.key --new-key-secret=sec1 "
        "--slot=0 --replace nvram.raw\n"
    }, {
        "key-remove", "IMAGE", 1, 1, WRITES | OPT_SLOT, tool_key_remove,
        "empty a key slot",
        "Empties the key slot that --slot names. The last one stays.",
        "key-remove --object secret,id=sec0,file=nvram.key --key-secret=sec0 "
        "--slot=1 nvram.raw\n"
    }, {
        "encrypt", "IMAGE", 1, 1, WRITES | OPT_NEW_KEY | OPT_PROGRESS,
        tool_encrypt,
        "encrypt a plain store",
        "Encrypts the store in its place and zeroes what was there. After a "
        "command that was cut short the store is whole; the next use needs "
        "the new key and completes the work.",
        "encrypt -p --object secret,id=sec1,file=nvram.key "
        "--new-key-secret=sec1 nvram.raw\n"
    }, {
        "rekey", "IMAGE", 1, 1, WRITES | OPT_NEW_KEY | OPT_PROGRESS,
        tool_rekey,
        "encrypt the store with another data key",
        "Encrypts the store again with a new data key, which only the new "
        "key opens: all key slots of before are gone. To change a passphrase "
        "only, use key-add --replace.",
        "rekey -p --object secret,id=sec0,file=old.key --key-secret=sec0 "
        "--object secret,id=sec1,file=new.key --new-key-secret=sec1 "
        "nvram.raw\n"
    }, {
        "decrypt", "IMAGE", 1, 1, WRITES | OPT_PROGRESS, tool_decrypt,
        "make the store plain",
        "Stores everything unencrypted and zeroes what was there.",
        "decrypt -p --object secret,id=sec0,file=nvram.key "
        "--key-secret=sec0 nvram.raw\n"
    },
#ifdef CONFIG_LIBTPMS
    {
        "tpm create", "IMAGE", 1, 1, WRITES | OPT_NEW_KEY | OPT_NEW_TPM,
        tool_tpm_create,
        "make a new TPM",
        "Makes a TPM, as the first start of a VM would. A blank image gets a "
        "store first, which is encrypted if a new key is named.",
        "tpm create -f qcow2 --pcr-banks=sha256 nvram.qcow2\n"
    }, {
        "tpm info", "IMAGE", 1, 1, READS, tool_tpm_info,
        "show what the TPM would say of itself",
        "Starts a copy of the TPM in memory, asks the copy, and throws it "
        "away. The failed tries are those that the TPM has at its next start: "
        "it adds one if it lost its power without TPM2_Shutdown.",
        "tpm info -f qcow2 nvram.qcow2\n"
        "tpm info --output=json nvram.raw\n"
    }, {
        "tpm clear", "IMAGE", 1, 1, WRITES, tool_tpm_clear,
        "clear the TPM, as its owner or firmware could",
        "Executes TPM2_Clear by the platform: owner, endorsement and lockout "
        "passwords, keys of the owner, and what the owner has stored, are "
        "gone, and a lockout ends. The endorsement key and its certificate "
        "stay.",
        "tpm clear -f qcow2 nvram.qcow2\n"
    }, {
        "tpm reset-lockout", "IMAGE", 1, 1, WRITES | OPT_LOCKOUT,
        tool_tpm_reset_lockout,
        "end the lockout after wrong passwords",
        "Executes TPM2_DictionaryAttackLockReset. It takes the lockout "
        "password if one is set.",
        "tpm reset-lockout nvram.raw\n"
    }, {
        "tpm new-identity", "IMAGE", 1, 1, WRITES | OPT_FORCE,
        tool_tpm_new_identity,
        "give the TPM of a clone seeds of its own",
        "Changes the seeds of the endorsement and platform hierarchies and "
        "clears the TPM. All keys are lost: the endorsement key is another "
        "one, certificates in the TPM are not for it, and disks whose keys "
        "were sealed with the TPM need their recovery keys.",
        "tpm new-identity --force clone.raw\n"
    }, {
        "tpm import", "IMAGE", 1, 1,
        WRITES | OPT_NEW_KEY | OPT_FROM | OPT_SWTPM_KEY | OPT_FORCE,
        tool_tpm_import,
        "take a TPM over from swtpm",
        "Reads the TPM from a directory or a linear file of swtpm, which "
        "stays as it is, checks with libtpms that it is whole, and stores it. "
        "A blank image gets a store first, which is encrypted if a new key is "
        "named. Do not let swtpm run with its copy afterwards: the two would "
        "go apart.\n\n"
        "A TPM that was saved while it ran is refused: its PCRs and sessions "
        "belong to a VM that runs, and a store has no place for them.",
        "tpm import -f qcow2 --from /var/lib/libvirt/swtpm/UUID/tpm2 "
        "nvram.qcow2\n"
        "tpm import --from state --swtpm-key "
        "pwdfile=swtpm.pwd,mode=aes-256-cbc nvram.raw\n"
    }, {
        "tpm export", "IMAGE", 1, 1,
        OPT_IMAGE | OPT_KEY | OPT_TO | OPT_SWTPM_KEY, tool_tpm_export,
        "hand a TPM over to swtpm",
        "Writes the TPM into a directory from which swtpm starts, or into a "
        "linear file. A TPM that is there is never overwritten. The store "
        "keeps its copy: let only one of the two run.",
        "tpm export -f qcow2 --to state nvram.qcow2\n"
    },
#endif
    { NULL }
};
