/*
 * The tables of versions and directories
 *
 * Rows that nobody names are cleared, so that equal states are equal.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

inline collect()
{
    for (v : 1 .. VERSIONS - 1) {
        used = row[0] == v || row[1] == v;
        for (u : 0 .. UNITS - 1) {
            used = used || seen[u] == v || kept[u] == v;
        }
        if
        :: !used ->
            version[v].id = 0; version[v].seq = 0; version[v].previous = 0;
            version[v].watermark = 0; version[v].census[0] = 0;
            version[v].census[1] = 0; version[v].partner = 0;
            version[v].epoch_id = 0; version[v].deleted = false;
            version[v].content = 0
        :: else
        fi
    }
    for (v : 1 .. DIRECTORIES - 1) {
        used = new_dir == v || dir_seen[0] == v || dir_seen[1] == v ||
               dir_kept[0] == v || dir_kept[1] == v;
        if
        :: !used ->
            directory[v].epoch = 0; directory[v].epoch_id = 0;
            directory[v].clean = false; directory[v].next_id = 0;
            directory[v].last = 0;
            for (n : 0 .. 1) {
                clear_entry(directory[v].entry[n])
            }
        :: else
        fi
    }
}

inline find_version_row(out)
{
    v = 1;
    do
    :: v < VERSIONS && version[v].id != 0 -> v++
    :: else -> break
    od;
    assert(v < VERSIONS);       /* of the model, not of the store */
    out = v
}

inline find_epoch_id()
{
    fresh = 1;
    do
    :: used = fresh == epoch_id;
       for (v : 1 .. VERSIONS - 1) {
           used = used || version[v].epoch_id == fresh;
       }
       for (v : 1 .. DIRECTORIES - 1) {
           used = used || directory[v].epoch_id == fresh;
       }
       if
       :: used -> fresh++
       :: else -> break
       fi
    od
}

inline find_content()
{
    fresh = 1;
    do
    :: used = promised[0] == fresh || promised[1] == fresh ||
              maybe[0] == fresh || maybe[1] == fresh ||
              earlier[0] == fresh || earlier[1] == fresh;
       for (v : 1 .. VERSIONS - 1) {
           used = used || version[v].content == fresh;
       }
       if
       :: used -> fresh++
       :: else -> break
       fi
    od
}
