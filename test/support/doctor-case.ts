import type { Report } from '../../src/core/report.ts';
import type { FaultId } from '../../src/doctor/faults.ts';
import type { SickZone } from './sick-zone.ts';

/** A zone in which one thing is wrong. */
export interface DoctorCase {
  fault: FaultId;
  /** How the fault comes about, for the page. */
  when: string;
  /** Builds it and has it looked at. */
  look: (zone: SickZone) => Promise<Report>;
}
