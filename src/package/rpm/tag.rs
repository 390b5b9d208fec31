//! The numbers of the tags of rpm headers that are read or written here.
//!
//! Names and numbers as in rpm's own `rpmtag.h`; those of the signature header have numbers of their
//! own below and above 1000.

/// The region that a package's signatures form.
pub const HEADER_SIGNATURES: u32 = 62;
/// The region that a signature covers: what the package was built with.
pub const HEADER_IMMUTABLE: u32 = 63;
/// The languages of translated texts.
pub const HEADER_I18N_TABLE: u32 = 100;

/// Tags of the signature header.
pub mod signature {
    /// Bytes of header and payload.
    pub const SIZE: u32 = 1000;
    /// OpenPGP signature with RSA over header and payload.
    pub const PGP: u32 = 1002;
    /// MD5 of header and payload.
    pub const MD5: u32 = 1004;
    /// OpenPGP signature with DSA or EdDSA over header and payload.
    pub const GPG: u32 = 1005;
    /// Plain bytes of the payload.
    pub const PAYLOAD_SIZE: u32 = 1007;
    /// Room for further signatures.
    pub const RESERVED: u32 = 1008;
    /// OpenPGP signature with DSA or EdDSA over the header.
    pub const DSA_HEADER: u32 = 267;
    /// OpenPGP signature with RSA over the header.
    pub const RSA_HEADER: u32 = 268;
    /// SHA-1 of the header, in hexadecimal.
    pub const SHA1_HEADER: u32 = 269;
    /// Bytes of header and payload, as a longer number.
    pub const LONG_SIZE: u32 = 270;
    /// Plain bytes of the payload, as a longer number.
    pub const LONG_ARCHIVE_SIZE: u32 = 271;
    /// SHA-256 of the header, in hexadecimal.
    pub const SHA256_HEADER: u32 = 273;
    /// OpenPGP signatures over the header, each in Base64.
    pub const OPENPGP: u32 = 278;
}

/// Tags under which an installed package's header holds what its signature header held.
pub mod installed {
    /// [`super::signature::SIZE`].
    pub const SIGNATURE_SIZE: u32 = 257;
    /// [`super::signature::PGP`].
    pub const SIGNATURE_PGP: u32 = 259;
    /// [`super::signature::MD5`].
    pub const SIGNATURE_MD5: u32 = 261;
    /// [`super::signature::GPG`].
    pub const SIGNATURE_GPG: u32 = 262;
    /// [`super::signature::PAYLOAD_SIZE`].
    pub const ARCHIVE_SIZE: u32 = 1046;
    /// When it was installed.
    pub const INSTALL_TIME: u32 = 1008;
    /// What became of each file.
    pub const FILE_STATES: u32 = 1029;
    /// Which colours of files the machine takes.
    pub const INSTALL_COLOR: u32 = 1127;
    /// In which transaction it was installed.
    pub const INSTALL_TID: u32 = 1128;
}

/// The package's name.
pub const NAME: u32 = 1000;
/// Its version.
pub const VERSION: u32 = 1001;
/// Its release.
pub const RELEASE: u32 = 1002;
/// Its epoch.
pub const EPOCH: u32 = 1003;
/// When it was built.
pub const BUILD_TIME: u32 = 1006;
/// Its group.
pub const GROUP: u32 = 1016;
/// Its architecture.
pub const ARCHITECTURE: u32 = 1022;
/// Whole paths of files, in very old packages.
pub const OLD_FILE_NAMES: u32 = 1027;
/// Sizes of files.
pub const FILE_SIZES: u32 = 1028;
/// Types and permissions of files.
pub const FILE_MODES: u32 = 1030;
/// Device numbers of device nodes.
pub const FILE_RDEVS: u32 = 1033;
/// Times of files.
pub const FILE_MTIMES: u32 = 1034;
/// Digests of files, in hexadecimal.
pub const FILE_DIGESTS: u32 = 1035;
/// Targets of links.
pub const FILE_LINKS: u32 = 1036;
/// What files are for.
pub const FILE_FLAGS: u32 = 1037;
/// Owners of files.
pub const FILE_USERS: u32 = 1039;
/// Groups of files.
pub const FILE_GROUPS: u32 = 1040;
/// Of which source package it was built.
pub const SOURCE_RPM: u32 = 1044;
/// What it provides.
pub const PROVIDE_NAME: u32 = 1047;
/// How it requires.
pub const REQUIRE_FLAGS: u32 = 1048;
/// What it requires.
pub const REQUIRE_NAME: u32 = 1049;
/// Which versions it requires.
pub const REQUIRE_VERSION: u32 = 1050;
/// How it conflicts.
pub const CONFLICT_FLAGS: u32 = 1053;
/// With what it conflicts.
pub const CONFLICT_NAME: u32 = 1054;
/// With which versions it conflicts.
pub const CONFLICT_VERSION: u32 = 1055;
/// What it makes superfluous.
pub const OBSOLETE_NAME: u32 = 1090;
/// Programs that run the scripts: before and after installing, before and after removing.
pub const SCRIPT_PROGRAMS: [u32; 4] = [1085, 1086, 1087, 1088];
/// The scripts themselves, in the same order.
pub const SCRIPTS: [u32; 4] = [1023, 1024, 1025, 1026];
/// Names that triggers wait for.
pub const TRIGGER_NAME: u32 = 1066;
/// Triggers: names, versions, flags and the numbers of their scripts; scripts, programs and flags of
/// these; priorities, which those of packages do not have.
pub const TRIGGERS: [u32; 8] = [1066, 1067, 1068, 1069, 1065, 1092, 5027, 0];
/// The same of triggers that wait for files of a package.
pub const FILE_TRIGGERS: [u32; 8] = [5069, 5071, 5072, 5070, 5066, 5067, 5068, 5084];
/// The same of triggers that wait for files of a transaction.
pub const TRANSACTION_FILE_TRIGGERS: [u32; 8] = [5079, 5081, 5082, 5080, 5076, 5077, 5078, 5085];
/// Flags of the scripts before and after installing, before and after the whole transaction.
pub const SCRIPT_FLAGS: [u32; 4] = [5020, 5021, 5024, 5025];
/// Devices of files in the builder's file system.
pub const FILE_DEVICES: u32 = 1095;
/// Inodes of files in the builder's file system.
pub const FILE_INODES: u32 = 1096;
/// How it provides.
pub const PROVIDE_FLAGS: u32 = 1112;
/// Which versions it provides.
pub const PROVIDE_VERSION: u32 = 1113;
/// How it makes superfluous.
pub const OBSOLETE_FLAGS: u32 = 1114;
/// Which versions it makes superfluous.
pub const OBSOLETE_VERSION: u32 = 1115;
/// For each file the number of its directory.
pub const DIRECTORY_INDEXES: u32 = 1116;
/// Last names of files.
pub const BASE_NAMES: u32 = 1117;
/// Directories of files, with a final slash.
pub const DIRECTORY_NAMES: u32 = 1118;
/// The payload's format.
pub const PAYLOAD_FORMAT: u32 = 1124;
/// The payload's compression.
pub const PAYLOAD_COMPRESSOR: u32 = 1125;
/// Whether files are for 32 or 64 bits.
pub const FILE_COLORS: u32 = 1140;
/// For each file where its dependencies begin in the dictionary.
pub const FILE_DEPENDS_START: u32 = 1143;
/// For each file how many entries of the dictionary are its own.
pub const FILE_DEPENDS_COUNT: u32 = 1144;
/// The dictionary: letters of kinds in the highest byte, numbers of dependencies below.
pub const DEPENDS_DICTIONARY: u32 = 1145;
/// The script that runs before the whole transaction.
pub const PRETRANS: u32 = 1151;
/// The script that runs after the whole transaction.
pub const POSTTRANS: u32 = 1152;
/// The program for [`PRETRANS`].
pub const PRETRANS_PROGRAM: u32 = 1153;
/// The program for [`POSTTRANS`].
pub const POSTTRANS_PROGRAM: u32 = 1154;
/// Sizes of files as longer numbers.
pub const LONG_FILE_SIZES: u32 = 5008;
/// Capabilities of files, as text.
pub const FILE_CAPABILITIES: u32 = 5010;
/// The algorithm of [`FILE_DIGESTS`], as OpenPGP numbers it; MD5, if it is not there.
pub const FILE_DIGEST_ALGORITHM: u32 = 5011;
/// What it recommends: names, versions, flags.
pub const RECOMMEND: [u32; 3] = [5046, 5047, 5048];
/// What it suggests.
pub const SUGGEST: [u32; 3] = [5049, 5050, 5051];
/// What it supplements.
pub const SUPPLEMENT: [u32; 3] = [5052, 5053, 5054];
/// What it enhances.
pub const ENHANCE: [u32; 3] = [5055, 5056, 5057];
/// After whom it is to be installed, if that is there: names, versions, flags.
pub const ORDER: [u32; 3] = [5035, 5036, 5037];
/// Prefixes that its file triggers wait for.
pub const FILE_TRIGGER_NAME: u32 = 5069;
/// Prefixes that its file triggers of a transaction wait for.
pub const TRANSACTION_FILE_TRIGGER_NAME: u32 = 5079;
/// The compressed payload's digest, in hexadecimal.
pub const PAYLOAD_DIGEST: u32 = 5092;
/// The algorithm of [`PAYLOAD_DIGEST`], as OpenPGP numbers it.
pub const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;
